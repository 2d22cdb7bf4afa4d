/** The process of writer and subscribers: see fan-out-load.ts. */
import { answerPlan } from '../generator-process.ts';
import { runFanOut } from './fan-out-load.ts';

answerPlan(runFanOut);
