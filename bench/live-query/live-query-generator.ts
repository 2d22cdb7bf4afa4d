/** The process of writer and clients: see live-query-load.ts. */
import { answerPlan } from '../generator-process.ts';
import { runLiveQuery } from './live-query-load.ts';

answerPlan(runLiveQuery);
