/**
 * The load generator's process: takes one plan from its parent, runs it, answers with the report, ends.
 *
 * A process of its own, so that its CPU is never counted as the server's and its garbage never stops the harness.
 * Nothing is pinned to a core unless the harness was told to: the kernel's placement is part of both variants.
 */
import { answerPlan } from './generator-process.ts';
import { type LoadPlan, type LoadReport, runLoad } from './load.ts';

answerPlan<LoadPlan, LoadReport>(runLoad);
