import { keepPreviousData, queryOptions } from '@tanstack/react-query'
import { Readiness, ServerApprovals } from '../../../src/api/about-server.ts'
import type { RunStatus } from '../../../src/api/records.ts'
import type { Between } from '../changes/between.ts'
import { hasEnded } from '../ui/status.ts'
import { checkProof } from '../verify/verifier.ts'
import { client } from './client.ts'
import { fetchJson, fetchProof, Refused } from './files.ts'
import { answerOf } from './problem.ts'

/** Requested regularly, so that the page notices when a token is revoked. */
export const meQuery = queryOptions({
  queryKey: ['me'],
  queryFn: ({ signal }) => answerOf(client().me({ signal })),
  refetchInterval: 5_000,
  staleTime: 5_000,
})

const readinessQuery = queryOptions({
  queryKey: ['readiness'],
  queryFn: async ({ signal }) => {
    const answer = await fetch('/health/ready', { signal })
    return Readiness.safeParse(await answer.json()).data?.checks ?? {}
  },
  refetchInterval: 30_000,
})

/** What the server reports as wrong with its stored data; null if it reports nothing. */
export const integrityQuery = queryOptions({
  ...readinessQuery,
  select: ({ integrity }) => integrity?.detail ?? null,
})

/** How the server isolates commands, as a sentence, and whether it runs any. */
export const isolationQuery = queryOptions({
  ...readinessQuery,
  select: ({ isolation }) => isolation ?? null,
})

/** Why the server starts no commands for lack of disk space; null if it does. */
export const diskQuery = queryOptions({
  ...readinessQuery,
  select: ({ disk }) => disk?.detail ?? null,
})

/** The goals that fit the project in a folder of the server, best first; none while it is being typed. */
export const fittingGoalsQuery = (cwd: string) =>
  queryOptions({
    queryKey: ['goals', cwd],
    queryFn: ({ signal }) => answerOf(client().goals({ cwd, signal })),
    enabled: cwd !== '',
    retry: false,
  })

export const goalsQuery = queryOptions({
  queryKey: ['goals'],
  queryFn: ({ signal }) => answerOf(client().goals({ signal })),
  staleTime: Number.POSITIVE_INFINITY,
})

/** The MCP servers that a run may have. */
export const mcpOfferQuery = queryOptions({
  queryKey: ['mcp-servers'],
  queryFn: ({ signal }) => answerOf(client().mcpServers({ signal })),
})

/** The rules of the server for the calls of every run. */
export const serverRulesQuery = queryOptions({
  queryKey: ['approvals'],
  queryFn: async ({ signal }) =>
    ServerApprovals.parse(await fetchJson('/api/approvals', signal)).rules,
  staleTime: Number.POSITIVE_INFINITY,
})

/** What a run may ask for of the isolation of its commands. */
export const isolationOfferQuery = queryOptions({
  queryKey: ['isolation'],
  queryFn: ({ signal }) => answerOf(client().isolation({ signal })),
  staleTime: 30_000,
})

export const modelsQuery = queryOptions({
  queryKey: ['models'],
  queryFn: ({ signal }) => answerOf(client().models({ signal })),
  staleTime: 30_000,
})

/** The runs that wait for a person or are paused, at most 100 of each. */
export const waitingQuery = queryOptions({
  queryKey: ['waiting'],
  queryFn: async ({ signal }) => {
    const list = (status: RunStatus) =>
      answerOf(client().runs.list({ status, limit: 100 }, { signal }))
    const pages = await Promise.all([list('awaiting_human'), list('paused')])
    return { runs: pages.flatMap(({ runs }) => runs) }
  },
  refetchInterval: 3000,
  // The title and notices of the desktop are for a person who looks at something else.
  refetchIntervalInBackground: true,
})

const FRESH_MS = 1000
const POLL_MS = 2000
/** After this time without an answer, the server counts as silent. */
const SILENCE_MS = 10_000

/** A run as the server reports it; read again while it has not ended. */
export const runQuery = (runId: string) =>
  queryOptions({
    queryKey: ['run', runId],
    queryFn: ({ signal }) => {
      const patience = AbortSignal.any([signal, AbortSignal.timeout(SILENCE_MS)])
      return answerOf(client().runs.get(runId, { signal: patience }))
    },
    staleTime: ({ state: { data } }) =>
      data !== undefined && hasEnded(data.status) ? Number.POSITIVE_INFINITY : FRESH_MS,
    refetchInterval: ({ state: { data } }) =>
      data !== undefined && hasEnded(data.status) ? false : POLL_MS,
  })

/** The runs that begin from a run, at most 100 of them. */
export const goingOnQuery = (origin: string) =>
  queryOptions({
    queryKey: ['going-on', origin],
    queryFn: ({ signal }) => answerOf(client().runs.list({ origin, limit: 100 }, { signal })),
    refetchInterval: 10_000,
  })

/** What happened to the files of a run between two snapshots, which do not change. */
export const changesQuery = (runId: string, between: Between | null) =>
  queryOptions({
    queryKey: ['changes', runId, between],
    queryFn: ({ signal }) => answerOf(client().history.changes(runId, between ?? {}, { signal })),
    enabled: between !== null,
    staleTime: Number.POSITIVE_INFINITY,
    // During a replay, the files stay in sight.
    placeholderData: keepPreviousData,
  })

/** The hunks of one file between two snapshots. */
export const patchQuery = (runId: string, between: Between, path: string) =>
  queryOptions({
    queryKey: ['patch', runId, between, path],
    queryFn: async ({ signal }) => {
      const body = await answerOf(client().history.patch(runId, { ...between, path }, { signal }))
      const { hunkLines } = await import('../changes/hunk-lines.ts')
      return hunkLines(await new Response(body).text())
    },
    staleTime: Number.POSITIVE_INFINITY,
    placeholderData: keepPreviousData,
  })

/** A file as of a snapshot. */
export const fileQuery = (runId: string, path: string, at: number) =>
  queryOptions({
    queryKey: ['file', runId, path, at],
    queryFn: async ({ signal }) => {
      const body = await answerOf(client().history.file(runId, path, { at }, { signal }))
      return new Uint8Array(await new Response(body).arrayBuffer())
    },
    staleTime: Number.POSITIVE_INFINITY,
  })

/** Which witnesses have seen the checkpoints of the server. Only auditors may ask. */
export const logQuery = (enabled: boolean) =>
  queryOptions({
    queryKey: ['log'],
    queryFn: ({ signal }) => answerOf(client().audit.log({ signal })),
    enabled,
    refetchInterval: 10_000,
    retry: false,
  })

const PROOF_RETRIES = 3

/** The server's signed proof of a run, checked. It does not change after the run has ended. */
export const proofQuery = (
  runId: string,
  { ended, enabled }: { readonly ended: boolean; readonly enabled: boolean },
) =>
  queryOptions({
    queryKey: ['proof', runId, ended],
    queryFn: async ({ signal }) => {
      const { proof, keys } = await fetchProof(runId, signal)
      return checkProof(proof, keys)
    },
    enabled,
    staleTime: Number.POSITIVE_INFINITY,
    // No poll asks for it again if a connection or the code that checks it was lost for a moment.
    retry: (failures, error) => failures < PROOF_RETRIES && !(error instanceof Refused),
  })
