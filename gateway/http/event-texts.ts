/**
 * Frames of a session as server-sent events: a name and a line of JSON each.
 *
 *   put, remove, or_add, or_remove   {map, key, value, timestamp, …}     a record changed
 *   ready                            {map}                               from here on every change of the map is told
 *   topic                            {topic, data, …}                    a message
 *   snapshot                         {query, results, …}                 what a query finds now; replaces what it found before
 *   enter, update, leave             {query, key, value}                 and how that changes
 *   reset                            {map, reason}                       read the map anew: other rows are seen now
 *   refused                          {code, message, query}              something that was asked for is not to be had, or no longer
 */
import { type Data, isData } from '../../engine/protocol/codec.ts';
import { jsonOf } from './json-value.ts';

export interface EventText {
  readonly name: string;
  /** Without line breaks. */
  readonly data: string;
}

/** The events of a frame; none of those that say nothing to a reader. */
export function eventTexts(message: Data): EventText[] {
  const payload = isData(message.payload) ? message.payload : {};
  switch (message.type) {
    case 'SERVER_EVENT':
      return [changeText(payload)];
    case 'SERVER_BATCH_EVENT':
      return (Array.isArray(payload.events) ? payload.events : []).filter(isData).map(changeText);
    case 'TOPIC_MESSAGE':
      return [text('topic', payload)];
    case 'QUERY_RESP':
      return [text('snapshot', renamed(payload))];
    case 'QUERY_UPDATE':
      return [text(String(payload.changeType).toLowerCase(), { query: payload.queryId, key: payload.key, value: payload.value })];
    case 'SYNC_RESP_ROOT':
      return [text('ready', { map: payload.mapName, timestamp: payload.timestamp })];
    case 'SYNC_RESET_REQUIRED':
      return [text('reset', { map: payload.mapName, reason: payload.reason })];
    case 'ERROR':
      return [refusedText(payload)];
    default:
      return [];
  }
}

/** An event of our own. */
export function text(name: string, data: object): EventText {
  return { name, data: JSON.stringify(jsonOf(data)) };
}

function changeText(event: Data): EventText {
  const { mapName: map, eventType, key, orTag } = event;
  const record = event.record ?? event.orRecord;
  const { value, timestamp, ttlMs, tag = orTag } = isData(record) ? record : {};
  return text(String(eventType).toLowerCase(), { map, key, value, timestamp, tag, ttlMs });
}

/** With the query that it ends, if it is about one. */
function refusedText({ code, message, details }: Data): EventText {
  const { type, id } = isData(details) ? details : {};
  return text('refused', { code, message, query: type === 'QUERY_SUB' ? id : undefined });
}

function renamed({ queryId: query, results, hasMore, nextCursor, error }: Data): object {
  return { query, results, hasMore, nextCursor, error };
}
