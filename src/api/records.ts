/** The types of the domain that are a part of the wire contract: clients and the console have them from here. */
export { AccessEntry, type AccessKind } from '../domain/access.ts'
export { nameOfRule } from '../domain/approvals/rules.ts'
export { isLimit, LIMITS, type Limit } from '../domain/pause.ts'
export {
  ALL_KINDS,
  type CallDecision,
  type Decision,
  DOCUMENTED_KINDS,
  type Kind,
  type RecordOf,
  RunRecord,
  type Seen,
} from '../domain/records.ts'
export { type ConfigChanges, EFFORTS, type Effort, type RunConfig } from '../domain/run-config.ts'
export { RUN_SORTS, RUN_STATUSES, type RunSort, type RunStatus } from '../domain/state.ts'
export type { RunVerdict, Verdict } from '../domain/verdict.ts'
