import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import type { Effects } from '../agent/run-loop.ts'
import { Supervisor } from '../agent/supervisor.ts'
import { now } from './clocks.ts'
import type { Parts } from './parts.ts'

/** Who works on the runs; nothing is done before it is started. */
export function createSupervisor(
  { settings, log, store }: Pick<Parts, 'settings' | 'log' | 'store'>,
  effects: Effects,
  claims: {
    readonly server: string
    readonly claimant: string
    readonly stopped: ReadonlySet<string>
  },
): Supervisor {
  const { server, claimant, stopped } = claims
  const isShared = settings.EVENTSTORE_URL !== undefined
  return new Supervisor({
    store,
    effects,
    process: { server, claimant, pid: process.pid, host: hostname() },
    stopped,
    leaseMs: isShared ? settings.RETRAI_LEASE_SECONDS * 1000 : null,
    now,
    newId: randomUUID,
    retryMs: [100, 5_000],
    maxRunsAtWork: settings.RETRAI_MAX_RUNS_AT_WORK,
    log,
  })
}
