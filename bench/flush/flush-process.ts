/** The process of one writer: see flush-load.ts. */
import { answerPlan } from '../generator-process.ts';
import { type FlushPlan, type FlushReport, runFlushes } from './flush-load.ts';

answerPlan<FlushPlan, FlushReport>(runFlushes);
