/** The process of the Redis load: takes a plan, answers with its report. */
import { answerPlan } from '../generator-process.ts';
import { type RespLoadPlan, type RespLoadReport, runRespLoad } from './resp-load.ts';

answerPlan<RespLoadPlan, RespLoadReport>(runRespLoad);
