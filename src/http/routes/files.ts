import { Readable } from 'node:stream'
import { err, type Result, ResultAsync } from 'neverthrow'
import * as z from 'zod'
import { RunChanges } from '../../api/changes.ts'
import type { Problem } from '../../api/problems.ts'
import { ChangesQuery, FileParams, FileQuery, RunParams } from '../../api/run-requests.ts'
import { pathBytes } from '../../lib/git-objects.ts'
import { messageOf } from '../../lib/message-of.ts'
import { maskedContent } from '../../log/masking.ts'
import { changesAsPatch, changesOf } from '../../snapshots/changes.ts'
import { RunFiles, type SnapshotAt, snapshotsOf } from '../../snapshots/run-files.ts'
import type { AppDeps, ZodApp } from '../deps.ts'
import { described, problems, READ_PROBLEMS, sendProblem, sendResult } from '../problems/problem.ts'
import { artifactProblem, invalidField, queryProblem } from '../problems/problem-of.ts'
import { sendStream } from '../replies/format.ts'

export const files = [runChanges, readFile]

const PATCH = 'text/x-patch'
const BYTES = 'application/octet-stream'
const FILES_PROBLEMS = ['invalid_request', 'run_not_found', ...READ_PROBLEMS] as const

const CHANGES = `
What happened to the files of the project between two snapshots, whatever did it: a tool, a command, a check or a person.
A snapshot is made before the first step of a run, and after each step in which a file changed (records of the kind
\`snapshot\`). What is ignored, too large, or looks like a secret is not in a snapshot: \`left_out\` names it.
Secrets in files are masked.
`

/** GET /api/runs/{run_id}/changes */
function runChanges(app: ZodApp, deps: AppDeps): void {
  app.route({
    method: 'GET',
    url: '/api/runs/:run_id/changes',
    config: { needs: 'runs:read' },
    schema: {
      operationId: 'runChanges',
      tags: ['history'],
      summary: 'What happened to the files of the project',
      description: CHANGES,
      params: RunParams,
      querystring: ChangesQuery,
      response: {
        200: {
          ...described('The changes', RunChanges),
          content: {
            'application/json': { schema: RunChanges },
            [PATCH]: { schema: z.string() },
          },
        },
        ...problems('snapshot_not_found', ...FILES_PROBLEMS),
      },
    },
    handler: async (request, reply) => {
      const { runId, query } = request
      const opened = await openFiles(runId, deps)
      if (opened.isErr()) return sendProblem(request, reply, opened.error)
      const { snapshots, files: runFiles } = opened.value
      const [from, to] = [snapshotAt(snapshots, query.from ?? 0), snapshotAt(snapshots, query.to)]
      if (from.seq > to.seq) {
        const message = `from must not be after to: ${query.from} is more than ${query.to}.`
        return sendProblem(request, reply, invalidField('from', message))
      }
      const between = { from, to, path: query.path }
      if (query.format === 'patch') {
        const patch = await attempt(changesAsPatch(runFiles, between))
        if (patch.isErr()) return sendProblem(request, reply, patch.error)
        return sendStream(reply, PATCH, Readable.from([patch.value]))
      }
      const parts = { files: runFiles, artifacts: deps.artifacts }
      return sendResult(request, reply, attempt(changesOf(runId, between, parts)))
    },
  })
}

/** GET /api/runs/{run_id}/files/{path} */
function readFile(app: ZodApp, deps: AppDeps): void {
  app.route({
    method: 'GET',
    url: '/api/runs/:run_id/files/*',
    config: { needs: 'runs:read' },
    schema: {
      operationId: 'readFile',
      tags: ['history'],
      summary: 'Read a file of the project as it was',
      description:
        'The content of a file in the last snapshot before a record; of a symbolic link, where it leads. Secrets are masked.',
      params: FileParams,
      querystring: FileQuery,
      response: {
        200: described('The content, as a file', z.string(), BYTES),
        ...problems('snapshot_not_found', 'file_not_found', ...FILES_PROBLEMS),
      },
    },
    handler: async (request, reply) => {
      const { params, query, runId } = request
      const opened = await openFiles(runId, deps)
      if (opened.isErr()) return sendProblem(request, reply, opened.error)
      const { snapshots, files: runFiles } = opened.value
      const { seq, snapshot } = snapshotAt(snapshots, query.at)
      const path = params['*']
      const found = runFiles.find(snapshot.tree, pathBytes(path))
      if (found === null || found?.mode === '40000') {
        const detail = `Snapshot ${seq} has no file ${JSON.stringify(path)}.`
        return sendProblem(request, reply, { code: 'file_not_found', detail })
      }
      const content = await attempt(
        found === undefined ? Promise.resolve(null) : runFiles.blob(found.id),
      )
      if (content.isErr()) return sendProblem(request, reply, content.error)
      if (content.value === null) {
        const detail = `Snapshot ${seq} names this file, but its content was not kept, was redacted, or is lost.`
        return sendProblem(request, reply, { code: 'file_not_found', detail })
      }
      // It may be anything, so a browser saves it and does not show it.
      reply.header('content-disposition', 'attachment')
      return sendStream(reply, BYTES, Readable.from([maskedContent(content.value)]))
    },
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
): Promise<Result<Opened, Problem>> {
  const found = await snapshotsOf(store, runId)
  if (found.isErr()) return err(queryProblem(found.error))
  const [first, ...more] = found.value
  if (first === undefined) return err({ code: 'snapshot_not_found' })
  const snapshots = [first, ...more] as const
  return attempt(RunFiles.open(snapshots, artifacts, (sha256) => redactions.packsOf(sha256))).map(
    (opened) => ({
      snapshots,
      files: opened,
    }),
  )
}

/** What is read from the place of the artifacts, which may be away. */
const attempt = <T>(reading: Promise<T>): ResultAsync<T, Problem> =>
  ResultAsync.fromPromise(reading, (cause) => artifactProblem(messageOf(cause)))

/** The last snapshot up to a record; the first if there is none before it. @param seq without it, the last of all */
const snapshotAt = (snapshots: Opened['snapshots'], seq = Number.POSITIVE_INFINITY): SnapshotAt =>
  snapshots.findLast((each) => each.seq <= seq) ?? snapshots[0]
