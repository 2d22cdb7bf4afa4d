/** The process that counts: see counter-load.ts. */
import { answerPlan } from '../generator-process.ts';
import { runCounters } from './counter-load.ts';

answerPlan(runCounters);
