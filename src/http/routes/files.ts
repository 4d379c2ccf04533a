import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { err, ok, type Result, ResultAsync } from 'neverthrow'
import * as z from 'zod'
import { CarriedFiles, RunChanges } from '../../api/changes.ts'
import {
  AbortRun,
  ApplyRun,
  ChangesQuery,
  FileParams,
  FileQuery,
  RollbackRun,
  RunParams,
} from '../../api/run-requests.ts'
import { RunAndStatus } from '../../api/runs.ts'
import { pathBytes } from '../../lib/git-objects.ts'
import { maskedContent } from '../../log/masking.ts'
import type { Author } from '../../log/run-log.ts'
import { changesAsPatch, changesOf } from '../../snapshots/changes.ts'
import { RunFiles, type SnapshotAt, snapshotsOf } from '../../snapshots/run-files.ts'
import { type AppDeps, type CarryResult, PROJECTION_WAIT_MS } from '../deps.ts'
import { described, operation } from '../operation.ts'
import { invalidField, type Refusal, unreachable } from '../problems/problem-of.ts'
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
    params: RunParams,
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
    handle: async ({ runId, params, query }, reply) => {
      const content = await fileAt(runId, params['*'], query.at, deps)
      return content.map((bytes) => {
        // It may be anything, so a browser saves it and does not show it.
        reply.header('content-disposition', 'attachment')
        return sendStream(reply, BYTES, Readable.from([maskedContent(bytes)]))
      })
    },
  })
}

async function changes(
  runId: string,
  query: z.output<typeof ChangesQuery>,
  reply: FastifyReply,
  deps: AppDeps,
): Promise<Result<RunChanges | FastifyReply, Refusal>> {
  const opened = await openFiles(runId, deps)
  if (opened.isErr()) return err(opened.error)
  const { snapshots, files: runFiles } = opened.value
  const [from, to] = [snapshotAt(snapshots, query.from ?? 0), snapshotAt(snapshots, query.to)]
  if (from.seq > to.seq) {
    const message = `from must not be after to: ${query.from} is more than ${query.to}.`
    return err(invalidField('from', message))
  }
  const between = { from, to, path: query.path }
  if (query.format === 'patch') {
    const patch = await attempt(changesAsPatch(runFiles, between))
    return patch.map((text) => sendStream(reply, PATCH, Readable.from([text])))
  }
  return attempt(changesOf(runId, between, { files: runFiles, artifacts: deps.artifacts }))
}

/** @param at seq of a record; without it, the file of the last snapshot */
async function fileAt(
  runId: string,
  path: string,
  at: number | undefined,
  deps: AppDeps,
): Promise<Result<Buffer, Refusal>> {
  const opened = await openFiles(runId, deps)
  if (opened.isErr()) return err(opened.error)
  const { snapshots, files: runFiles } = opened.value
  const { seq, snapshot } = snapshotAt(snapshots, at)
  const found = runFiles.find(snapshot.tree, pathBytes(path))
  if (found === null || found?.mode === '40000') {
    const detail = `Snapshot ${seq} has no file ${JSON.stringify(path)}.`
    return err({ code: 'file_not_found', detail })
  }
  const content = await attempt(
    found === undefined ? Promise.resolve(null) : runFiles.blob(found.id),
  )
  return content.andThen((bytes) => {
    const detail = `Snapshot ${seq} names this file, but its content was not kept, was redacted, or is lost.`
    return bytes === null ? err({ code: 'file_not_found', detail } as const) : ok(bytes)
  })
}

type Opened = {
  readonly snapshots: readonly [SnapshotAt, ...SnapshotAt[]]
  readonly files: RunFiles
}

/** The files of a run that has a snapshot. */
export async function openFiles(
  runId: string,
  { store, artifacts, redactions }: Pick<AppDeps, 'store' | 'artifacts' | 'redactions'>,
): Promise<Result<Opened, Refusal>> {
  const found = await snapshotsOf(store, runId)
  if (found.isErr()) return err(found.error)
  const [first, ...more] = found.value
  if (first === undefined) return err({ type: 'snapshot_not_found' })
  const snapshots = [first, ...more] as const
  const opening = RunFiles.open(snapshots, artifacts, (sha256) => redactions.packsOf(sha256))
  return attempt(opening).map((opened) => ({ snapshots, files: opened }))
}

/** What is read from the place of the artifacts, which may be away. */
const attempt = <T>(reading: Promise<T>) => ResultAsync.fromPromise(reading, unreachable)

/** The last snapshot up to a record; the first if there is none before it. @param seq without it, the last of all */
const snapshotAt = (snapshots: Opened['snapshots'], seq = Number.POSITIVE_INFINITY): SnapshotAt =>
  snapshots.findLast((each) => each.seq <= seq) ?? snapshots[0]

type Carrying<Body extends z.ZodType, Done, Answer extends z.ZodType> = {
  readonly name: 'rollback' | 'apply' | 'discard'
  readonly summary: string
  readonly description: string
  readonly body: Body
  readonly answer: Answer
  readonly act: (runId: string, body: z.output<Body>, by: Author) => CarryResult<Done>
  readonly shown: (done: Done) => z.output<Answer>
}

const HOW =
  'If one file is neither as it is known nor as it is to be, nothing is written, and the answer (409) names each. No other run ' +
  'may hold the folder. The decision is a record of the run, also after its end.'

/** What is done with what a run did to files. */
function carry(app: FastifyInstance, deps: AppDeps): void {
  const { carrier } = deps
  const carried = { answer: CarriedFiles, shown: (done: CarriedFiles) => done }
  carrying(app, deps, {
    ...{ name: 'rollback', body: RollbackRun, ...carried },
    summary: 'Make the files of the project those of an earlier snapshot',
    description: `Only files are written in which that snapshot and the last one of the run differ. ${HOW}`,
    act: (id, body, by) => carrier.rollback(id, body, by),
  })
  carrying(app, deps, {
    ...{ name: 'apply', body: ApplyRun, ...carried },
    summary: 'Carry what a run did in its copy over to the project',
    description: `${HOW} As \`files\`, the copy of a run that has ended is removed afterwards, if snapshots hold all of its work.`,
    act: (id, body, by) => carrier.apply(id, body, by),
  })
  carrying(app, deps, {
    ...{ name: 'discard', body: AbortRun, answer: RunAndStatus, shown: standing },
    summary: 'Remove the copy that a run has worked in',
    description:
      'Only after the end of the run. What its snapshots hold can still be applied. The decision is a record of the run.',
    act: (id, body, by) => carrier.discard(id, body, by),
  })
}

function carrying<
  Body extends z.ZodType,
  Done extends { readonly seq?: number },
  Answer extends z.ZodType,
>(
  app: FastifyInstance,
  { readModel }: AppDeps,
  { name, summary, description, body, answer, act, shown }: Carrying<Body, Done, Answer>,
): void {
  operation(app, `POST /api/runs/:run_id/${name}`, {
    needs: 'runs:create',
    id: `${name}Run`,
    tag: 'runs',
    ...{ summary, description, params: RunParams, body },
    answers: { 200: described('It is done, or what would be', answer) },
    handle: async (request) => {
      const { runId } = request
      const done = await act(runId, request.body as z.output<Body>, authorOf(request))
      const { seq } = done.unwrapOr({ seq: undefined })
      // The client then finds there what was recorded.
      if (seq !== undefined) await readModel.waitFor(runId, seq, PROJECTION_WAIT_MS)
      return done.map(shown)
    },
  })
}
