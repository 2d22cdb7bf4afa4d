/** The process that writes: see merge-peer-load.ts. */
import { answerPlan } from '../generator-process.ts';
import { runMergePeer } from './merge-peer-load.ts';

answerPlan(runMergePeer);
