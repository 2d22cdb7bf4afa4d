/**
 * Keys that belong to one writer: `w3-7.2` is the third key in slot 7 of writer w3. A key whose last write was never
 * answered is given up, so that what arrives late meets no newer write.
 */
import type { Random } from '../../../gateway/testing/random.ts';
import type { DoorLedger, Register } from '../door-ledger.ts';

export interface Slot {
  readonly key: string;
  readonly register: Register;
  /** What the writer wrote last, as it is there when that was taken. */
  value: string | undefined;
}

export class RegisterKeys {
  readonly #name: string;
  readonly #map: string;
  readonly #ledger: DoorLedger;
  readonly #slots: (Slot | undefined)[];
  #made = 0;

  constructor(name: string, map: string, slots: number, ledger: DoorLedger) {
    this.#name = name;
    this.#map = map;
    this.#ledger = ledger;
    this.#slots = Array.from({ length: slots }, () => undefined);
  }

  /** A slot for one write. `settle` it when the answer is known. */
  take(random: Random): { readonly slot: Slot; readonly settle: () => void } {
    const index = random.below(this.#slots.length);
    const slot = this.#slots[index] ?? this.#make(index);
    this.#slots[index] = undefined;
    return {
      slot,
      settle: () => {
        this.#slots[index] = slot;
      },
    };
  }

  #make(index: number): Slot {
    this.#made += 1;
    const key = `${this.#name}-${index}.${this.#made}`;
    return { key, register: this.#ledger.register(this.#map, key), value: undefined };
  }
}
