/** What of WebAssembly is used here; the libraries that Node's types come with do not declare it. */
export interface WebAssemblyApi {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: unknown };
  /** Sizes in pages of 64 KiB. Throws a RangeError when there is no room for it. */
  readonly Memory: new (descriptor: {
    readonly initial: number;
    readonly maximum?: number;
  }) => WebAssemblyMemory;
}

export interface WebAssemblyMemory {
  readonly buffer: ArrayBuffer;
}

export const webAssembly: WebAssemblyApi = (globalThis as unknown as { WebAssembly: WebAssemblyApi }).WebAssembly;
