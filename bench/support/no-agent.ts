import { errAsync, okAsync } from 'neverthrow'
import type { buildApp } from '../../src/http/app.ts'
import type { Signing } from '../../src/log/chain.ts'

/** In place of a room whose routes no bench asks. */
function unused<T extends object>(): T {
  return {} as T
}

/** What the HTTP side is given for a server that works on no runs of its own, and keeps no outputs. */
export const NO_AGENT = {
  artifacts: { read: async () => null, put: async () => '' },
  contextBudget: async () => 0,
  tools: [],
  goals: [],
  fittingGoals: () => okAsync([]),
  planRun: () => {
    throw new Error('no run is started here')
  },
  changeProblems: async () => [],
  putTags: () => {
    throw new Error('no run is tagged here')
  },
  models: async () => [],
  isolationOffer: async () => {
    throw new Error('no run is started here')
  },
  mcpOffer: { servers: [], own: 'none' },
  serverApprovals: [],
  redactions: {
    redact: () => {
      throw new Error('nothing is redacted here')
    },
    ofRun: () => [],
    isPending: () => false,
    packsOf: () => [],
    asOfNow: (event) => event,
    onRedacted: () => {},
  },
  search: { find: async () => null, behind: 0 },
  retention: { ...unused(), removalOf: () => undefined, holdOf: () => undefined },
  audit: unused(),
  carrier: unused(),
  webhooks: unused(),
  queuePosition: () => null,
  commandsRunning: () => 0,
  webhookPending: () => 0,
  ready: async () => ({ ready: true, checks: {} }),
} satisfies Partial<Parameters<typeof buildApp>[0]>

/** Signs nothing: no token is made here. */
export const NO_SIGNING: Signing = () =>
  errAsync({ type: 'store_failed', message: 'a bench has no key' })
