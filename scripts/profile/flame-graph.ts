/**
 * A flame graph of a thread: width is time, what is below calls what is above. SVG, laid out and drawn by Vega (its `partition`).
 *
 * Places with less than a five-hundredth of the time are left out: nobody could read them. Vega is a peer package (bench/peers).
 */
import { importPeer } from '../../bench/peer-packages.ts';
import type { CallNode } from './cpu-profile.ts';

interface Vega {
  parse(spec: unknown): unknown;
  View: new (runtime: unknown, options: { renderer: 'none' }) => { toSVG(): Promise<string> };
}

const SHARE_MIN = 1 / 500;
const WIDTH_PX = 1400;
const ROW_PX = 18;
const GC = '(garbage collector)';

/** Draws the tree. Rejects when Vega is not installed. */
export async function flameGraph(title: string, nodes: readonly CallNode[]): Promise<string> {
  const vega = await importPeer<Vega>('vega');
  const kept = widePlaces(nodes);
  return new vega.View(vega.parse(spec(title, kept)), { renderer: 'none' }).toSVG();
}

/** The places that are wide enough to be seen. Parents come before children, in and out. */
export function widePlaces(nodes: readonly CallNode[]): CallNode[] {
  const totals = new Map(nodes.map(({ id, selfUs }) => [id, selfUs]));
  for (const { id, parent } of [...nodes].reverse()) {
    const above = totals.get(parent);
    if (above !== undefined) totals.set(parent, above + (totals.get(id) ?? 0));
  }
  const all = totals.get(nodes[0]?.id ?? 0) ?? 0;
  return nodes.filter(({ id }, place) => place === 0 || (totals.get(id) ?? 0) >= all * SHARE_MIN);
}

function spec(title: string, nodes: readonly CallNode[]): object {
  const height = depthOf(nodes) * ROW_PX;
  const values = nodes.map(({ id, parent, name, selfUs }, place) => ({ id, parent: place === 0 ? null : parent, name, selfUs }));
  const box = {
    x: { field: 'x0' },
    x2: { field: 'x1' },
    y: { signal: `${height} - datum.y1` },
    y2: { signal: `${height} - datum.y0` },
  };
  return {
    width: WIDTH_PX,
    height,
    padding: 8,
    background: 'white',
    title: { text: title, anchor: 'start' },
    data: [
      {
        name: 'tree',
        values,
        transform: [
          { type: 'stratify', key: 'id', parentKey: 'parent' },
          { type: 'partition', field: 'selfUs', sort: { field: 'name' }, size: [WIDTH_PX, height] },
        ],
      },
    ],
    scales: [{ name: 'warm', type: 'ordinal', domain: { data: 'tree', field: 'name' }, range: { scheme: 'set3' } }],
    marks: [
      {
        type: 'rect',
        from: { data: 'tree' },
        encode: {
          enter: {
            ...box,
            fill: [
              { test: `datum.name === '${GC}'`, value: '#ef4444' },
              { scale: 'warm', field: 'name' },
            ],
            stroke: { value: 'white' },
            strokeWidth: { value: 0.5 },
          },
        },
      },
      {
        type: 'text',
        from: { data: 'tree' },
        encode: {
          enter: {
            x: { signal: 'datum.x0 + 3' },
            y: { signal: `${height} - (datum.y0 + datum.y1) / 2` },
            baseline: { value: 'middle' },
            fontSize: { value: 10 },
            font: { value: 'sans-serif' },
            limit: { signal: 'max(1, datum.x1 - datum.x0 - 6)' },
            text: { signal: `datum.x1 - datum.x0 < 24 ? '' : datum.name` },
          },
        },
      },
    ],
  };
}

/** Rows of the tree. */
function depthOf(nodes: readonly CallNode[]): number {
  const depths = new Map<number, number>();
  for (const { id, parent } of nodes) depths.set(id, (depths.get(parent) ?? 0) + 1);
  return Math.max(1, ...depths.values());
}
