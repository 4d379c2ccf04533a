import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { err, ok, ResultAsync, safeTry } from 'neverthrow'
import * as z from 'zod'
import { CarriedFiles, RunChanges } from '../../api/changes.ts'
import {
  AbortRun,
  ApplyRun,
  ChangesQuery,
  FileParams,
  FileQuery,
  RollbackRun,
} from '../../api/run-requests.ts'
import { RunAndStatus } from '../../api/runs.ts'
import { pathBytes } from '../../lib/git-objects.ts'
import { maskedContent } from '../../masking/process-mask.ts'
import { changesAsPatch, changesOf } from '../../snapshots/changes.ts'
import { RunFiles, type SnapshotAt, snapshotsOf } from '../../snapshots/run-files.ts'
import { type AppDeps, type CarryResult, PROJECTION_WAIT_MS } from '../deps.ts'
import { described, operation } from '../operation.ts'
import { invalidField, orProblem, type Refusal, unreachable } from '../problems/problem-of.ts'
import { sendStream } from '../replies/format.ts'
import { authorOf, standing } from './commands.ts'

const PATCH = 'text/x-patch'
const BYTES = 'application/octet-stream'

const CHANGES = `
What happened to the files of the project between two snapshots, whatever did it: a tool, a command, a check or a person.
A snapshot is made before the first step of a run, and after each step in which a file changed (records of the kind
\`snapshot\`). What is ignored, too large, or looks like a secret is not in a snapshot: \`left_out\` names it.
Secrets in files are masked.
`

/** The files of the project of a run, as its snapshots have them, and what is done with them. */
export function files(app: FastifyInstance, deps: AppDeps): void {
  carry(app, deps)
  operation(app, 'GET /api/runs/:run_id/changes', {
    needs: 'runs:read',
    id: 'runChanges',
    tag: 'history',
    summary: 'What happened to the files of the project',
    description: CHANGES,
    query: ChangesQuery,
    answers: {
      200: {
        description: 'The changes',
        content: {
          'application/json': { schema: RunChanges },
          [PATCH]: { schema: z.string() },
        },
      },
    },
    handle: ({ runId, query }, reply) => changes(runId, query, reply, deps),
  })
  operation(app, 'GET /api/runs/:run_id/files/*', {
    needs: 'runs:read',
    id: 'readFile',
    tag: 'history',
    summary: 'Read a file of the project as it was',
    description:
      'The content of a file in the last snapshot before a record; of a symbolic link, where it leads. Secrets are masked.',
    params: FileParams,
    query: FileQuery,
    answers: { 200: described('The content, as a file', z.string(), BYTES) },
    handle: ({ runId, params, query }, reply) =>
      fileAt(runId, params['*'], query.at, deps).map((bytes) => {
        // It may be anything, so a browser saves it and does not show it.
        reply.header('content-disposition', 'attachment')
        return sendStream(reply, BYTES, Readable.from([maskedContent(bytes)]))
      }),
  })
}

const changes = (
  runId: string,
  query: z.output<typeof ChangesQuery>,
  reply: FastifyReply,
  deps: AppDeps,
): ResultAsync<RunChanges | FastifyReply, Refusal> =>
  safeTry(async function* () {
    const { snapshots, files } = yield* openFiles(runId, deps)
    const [from, to] = [snapshotAt(snapshots, query.from ?? 0), snapshotAt(snapshots, query.to)]
    if (from.seq > to.seq) {
      const message = `from must not be after to: ${query.from} is more than ${query.to}.`
      return err(invalidField('from', message))
    }
    const between = { from, to, path: query.path }
    if (query.format === 'json') {
      return attempt(changesOf(runId, between, { files, artifacts: deps.artifacts }))
    }
    const patch = yield* attempt(changesAsPatch(files, between))
    return ok(sendStream(reply, PATCH, Readable.from([patch])))
  })

/** @param at seq of a record; without it, the file of the last snapshot */
const fileAt = (
  runId: string,
  path: string,
  at: number | undefined,
  deps: AppDeps,
): ResultAsync<Buffer, Refusal> =>
  safeTry(async function* () {
    const { snapshots, files } = yield* openFiles(runId, deps)
    const { seq, snapshot } = snapshotAt(snapshots, at)
    const found = files.find(snapshot.tree, pathBytes(path))
    if (found === null || found?.mode === '40000') {
      const detail = `Snapshot ${seq} has no file ${JSON.stringify(path)}.`
      return err({ code: 'file_not_found', detail } as const)
    }
    const content = found === undefined ? null : yield* attempt(files.blob(found.id))
    const detail = `Snapshot ${seq} names this file, but its content was not kept, was redacted, or is lost.`
    return orProblem({ code: 'file_not_found', detail })(content)
  })

type Opened = {
  readonly snapshots: readonly [SnapshotAt, ...SnapshotAt[]]
  readonly files: RunFiles
}

/** The files of a run that has a snapshot. */
export const openFiles = (
  runId: string,
  { store, artifacts, redactions }: Pick<AppDeps, 'store' | 'artifacts' | 'redactions'>,
): ResultAsync<Opened, Refusal> =>
  safeTry(async function* () {
    const [first, ...more] = yield* await snapshotsOf(store, runId)
    if (first === undefined) return err({ type: 'snapshot_not_found' } as const)
    const snapshots = [first, ...more] as const
    const packsOf = (sha256: string) => redactions.packsOf(sha256)
    const files = yield* attempt(RunFiles.open(snapshots, artifacts, packsOf))
    return ok({ snapshots, files })
  })

/** What is read from the place of the artifacts, which may be away. */
const attempt = <T>(reading: Promise<T>) => ResultAsync.fromPromise(reading, unreachable)

/** The last snapshot up to a record; the first if there is none before it. @param seq without it, the last of all */
const snapshotAt = (snapshots: Opened['snapshots'], seq = Number.POSITIVE_INFINITY): SnapshotAt =>
  snapshots.findLast((each) => each.seq <= seq) ?? snapshots[0]

const HOW =
  'If one file is neither as it is known nor as it is to be, nothing is written, and the answer (409) names each. No other run ' +
  'may hold the folder. The decision is a record of the run, also after its end.'
const DONE = 'It is done, or what would be'

/** What is done with what a run did to files. */
function carry(app: FastifyInstance, { carrier, readModel }: AppDeps): void {
  const base = { needs: 'runs:create', tag: 'runs' } as const
  /** Afterwards, the client finds there what was recorded. */
  async function shown<T extends { readonly seq?: number }>(runId: string, done: CarryResult<T>) {
    const carried = await done
    const { seq } = carried.unwrapOr({ seq: undefined })
    if (seq !== undefined) await readModel.waitFor(runId, seq, PROJECTION_WAIT_MS)
    return carried
  }
  operation(app, 'POST /api/runs/:run_id/rollback', {
    ...base,
    id: 'rollbackRun',
    summary: 'Make the files of the project those of an earlier snapshot',
    description: `Only files are written in which that snapshot and the last one of the run differ. ${HOW}`,
    body: RollbackRun,
    answers: { 200: described(DONE, CarriedFiles) },
    handle: (request) => {
      const { runId, body } = request
      return shown(runId, carrier.rollback(runId, body, authorOf(request)))
    },
  })
  operation(app, 'POST /api/runs/:run_id/apply', {
    ...base,
    id: 'applyRun',
    summary: 'Carry what a run did in its copy over to the project',
    description: `${HOW} As \`files\`, the copy of a run that has ended is removed afterwards, if snapshots hold all of its work.`,
    body: ApplyRun,
    answers: { 200: described(DONE, CarriedFiles) },
    handle: (request) => {
      const { runId, body } = request
      return shown(runId, carrier.apply(runId, body, authorOf(request)))
    },
  })
  operation(app, 'POST /api/runs/:run_id/discard', {
    ...base,
    id: 'discardRun',
    summary: 'Remove the copy that a run has worked in',
    description:
      'Only after the end of the run. What its snapshots hold can still be applied. The decision is a record of the run.',
    body: AbortRun,
    answers: { 200: described(DONE, RunAndStatus) },
    handle: async (request) => {
      const { runId, body } = request
      const done = await shown(runId, carrier.discard(runId, body, authorOf(request)))
      return done.map(standing)
    },
  })
}
