import { useMemo, useSyncExternalStore } from 'react'
import { type RunSnapshot, RunStore } from './run-store.ts'

/** The records of a run that have arrived; watches the run while the component is mounted. */
export function useRun(runId: string): RunSnapshot {
  const store = useMemo(() => new RunStore(runId), [runId])
  return useSyncExternalStore(store.subscribe, store.getSnapshot)
}
