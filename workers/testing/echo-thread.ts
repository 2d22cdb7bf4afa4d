/** A thread that answers, and ends well or badly on request. */
import { ownerPort, threadData } from '../threads.ts';

export type EchoRequest = { readonly echo: string } | { readonly fail: string };

const data = threadData<{ failAtStart: boolean; hangAtStop: boolean }>();
if (data.failAtStart) throw new Error('no port to listen on');

const owner = ownerPort<EchoRequest, string>();
owner.listen({
  onMessage: (request) => {
    if ('fail' in request) throw new Error(request.fail);
    owner.send(request.echo);
  },
  onStop: () => {
    if (!data.hangAtStop) owner.close();
  },
});
owner.ready();
