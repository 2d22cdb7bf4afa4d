/**
 * A plot of a part: a bar a variant, grouped by scenario, with the spread of its runs as a line. SVG, drawn by Vega.
 *
 * Vega is a peer package (bench/peers): the server never needs it, and a machine without network gets the page without plots.
 */
import { importPeer } from '../peer-packages.ts';
import type { Measured } from './measured.ts';
import { isLattice } from './sides.ts';

/** What is drawn of a part. */
export interface PlotShape {
  readonly figure: string;
  readonly heading: string;
  /** Factors of ten apart: a logarithmic axis. */
  readonly logarithmic?: boolean;
}

const SIDES = ['Lattice', 'others'] as const;

interface Bar {
  readonly scenario: string;
  readonly variant: string;
  readonly side: (typeof SIDES)[number];
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

interface Vega {
  parse(spec: unknown): unknown;
  View: new (runtime: unknown, options: { renderer: 'none' }) => { toSVG(): Promise<string> };
}

interface VegaLite {
  compile(spec: unknown, options: { logger: Logger }): { spec: unknown };
}

type Logger = Readonly<Record<'warn' | 'info' | 'debug' | 'error' | 'level', () => Logger>>;

/** The bars that a plot of these scenarios has; none when nobody has the figure. */
export function barsOf(measured: readonly Measured[], { figure }: PlotShape): Bar[] {
  return measured.flatMap(({ scenario, variants }) =>
    variants.flatMap(({ name, figures }) => {
      const spread = figures[figure];
      if (spread === undefined || !(spread.median > 0)) return [];
      return [
        {
          scenario,
          variant: name,
          side: SIDES[isLattice(name) ? 0 : 1],
          median: spread.median,
          min: spread.min,
          max: spread.max,
        },
      ];
    }),
  );
}

/** Draws the plot. Rejects when Vega is not installed. */
export async function drawPlot(measured: readonly Measured[], shape: PlotShape): Promise<string> {
  const vega = await importPeer<Vega>('vega');
  const vegaLite = await importPeer<VegaLite>('vega-lite');
  const { spec } = vegaLite.compile(plotSpec(barsOf(measured, shape), shape), { logger: SILENT });
  return new vega.View(vega.parse(spec), { renderer: 'none' }).toSVG();
}

function plotSpec(bars: readonly Bar[], { heading, logarithmic = false }: PlotShape): object {
  const scale = logarithmic ? { type: 'log', nice: true } : { zero: true };
  const x = { field: 'median', type: 'quantitative', title: heading, scale };
  const y = { field: 'variant', type: 'nominal', title: null, sort: null };
  const bar = { mark: logarithmic ? { type: 'point', filled: true, size: 70 } : 'bar', encoding: { x, y, color: COLOR } };
  const spread = {
    mark: { type: 'rule', strokeWidth: 1.5 },
    encoding: { x: { field: 'min', type: 'quantitative', scale }, x2: { field: 'max' }, y },
  };
  return {
    data: { values: bars },
    facet: {
      row: { field: 'scenario', type: 'nominal', title: null, sort: null, header: { labelAngle: 0, labelAlign: 'left' } },
    },
    spec: { width: 480, layer: [bar, spread] },
    resolve: { scale: { y: 'independent' } },
    config: { font: 'sans-serif', background: 'white' },
  };
}

/** Facets with axes of their own are what is wanted; Vega-Lite warns of each. */
const SILENT: Logger = {
  warn: () => SILENT,
  info: () => SILENT,
  debug: () => SILENT,
  error: () => SILENT,
  level: () => SILENT,
};

const COLOR = {
  field: 'side',
  type: 'nominal',
  scale: { domain: SIDES, range: ['#c2410c', '#94a3b8'] },
  legend: { title: null, orient: 'top' },
};
