/** What counters say at the end, read over the protocol that counted them: the sum must be what was sent. */
import { decode, encode, isData } from '../../engine/protocol/codec.ts';
import { RawWebSocket } from '../../gateway/testing/raw-websocket.ts';
import { ByteStream } from '../fan-out/byte-stream.ts';
import { commandText } from '../redis-peer.ts';
import type { CounterProtocol } from './counter-speakers.ts';

/** Who keeps what was counted. */
type KeepingProtocol = Exclude<CounterProtocol, 'raw'>;

/** Counters that one connection may watch. */
const WATCHED_MAX = 1000;
const GETS_TOGETHER = 500;

export async function sumOf(protocol: KeepingProtocol, port: number, names: readonly string[]): Promise<number> {
  let sum = 0;
  const together = protocol === 'pn' ? WATCHED_MAX : GETS_TOGETHER;
  for (let from = 0; from < names.length; from += together) {
    const part = names.slice(from, from + together);
    sum += protocol === 'pn' ? await sumOfPn(port, part) : await sumOfKeys(port, part);
  }
  return sum;
}

async function sumOfPn(port: number, names: readonly string[]): Promise<number> {
  const socket = await RawWebSocket.open({ port, path: '/ws?events=interest' });
  try {
    return await new Promise((resolve, reject) => {
      let answers = 0;
      let sum = 0;
      socket.onMessage = (frame) => {
        const message = decode(frame);
        if (!isData(message) || message.type !== 'COUNTER_RESPONSE' || !isData(message.payload)) return;
        const { state } = message.payload;
        if (isData(state) && isData(state.positive)) for (const value of Object.values(state.positive)) sum += Number(value);
        answers += 1;
        if (answers === names.length) resolve(sum);
      };
      void socket.closed.then(({ code, reason }) => reject(new Error(`closed with ${code} ${reason}`)));
      for (const name of names) socket.send(encode({ type: 'COUNTER_REQUEST', payload: { name } }).slice());
    });
  } finally {
    socket.terminate();
  }
}

/** Keys that nobody counted say nothing. */
async function sumOfKeys(port: number, names: readonly string[]): Promise<number> {
  const stream = await ByteStream.open(port, []);
  try {
    const text = await new Promise<string>((resolve, reject) => {
      let received = '';
      stream.onBytes = (chunk) => {
        received += chunk.toString('latin1');
        if (received.includes('+PONG')) resolve(received);
        return true;
      };
      stream.onClosed = (reason) => reject(new Error(reason));
      stream.write([...names.map((name) => commandText(['GET', name])), commandText(['PING'])].join(''));
    });
    return [...text.matchAll(/\$\d+\r\n(\d+)\r\n/g)].reduce((sum, [, digits]) => sum + Number(digits), 0);
  } finally {
    stream.close();
  }
}
