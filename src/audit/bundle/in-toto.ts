import { err, ok, type Result } from 'neverthrow'
import type { LogProof, RunProof } from '../../api/audit.ts'
import type { Kind, PayloadOf, RunRecord } from '../../domain/records.ts'
import { doubtOf, type RunVerdict } from '../../domain/verdict.ts'
import { sha256 } from '../../lib/sha256.ts'
import type { Signer } from '../../log/chain.ts'
import { canonicalText } from '../../log/commitment.ts'
import { type LoadError, recordPages } from '../../log/run-log.ts'
import type { StreamReader } from '../../log/stream-pages.ts'

/** https://github.com/in-toto/attestation: Statement v1 with the test-result predicate, in an envelope of DSSE v1. */
const STATEMENT = 'https://in-toto.io/Statement/v1'
const TEST_RESULT = 'https://in-toto.io/attestation/test-result/v0.1'
const PAYLOAD = 'application/vnd.in-toto+json'
export const ENVELOPE_TYPE = 'application/vnd.in-toto.test-result+dsse'

export type InTotoError =
  | LoadError
  | {
      readonly type: 'not_stated'
      readonly why: 'run_not_ended' | 'snapshot_not_found'
      readonly message: string
    }

/** What a statement is about. */
type Said = { -readonly [K in (typeof KINDS)[number]]?: PayloadOf<K> } & {
  readonly applied: PayloadOf<'changes_applied'>[]
}
const KINDS = ['run_created', 'snapshot', 'run_end'] as const satisfies Kind[]

/** States the result of a run about its last files. @returns the signed envelope, JSON */
export async function inTotoStatement(
  store: StreamReader,
  signer: Signer,
  proof: RunProof,
  log: LogProof | null,
): Promise<Result<string, InTotoError>> {
  const read = await readSaid(store, proof)
  if (read.isErr()) return err(read.error)
  const { run_created, snapshot, run_end, applied } = read.value
  if (run_created === undefined || run_end === undefined)
    return err({ type: 'not_stated', why: 'run_not_ended', message: NOT_ENDED })
  const tree = run_end.verdict?.tree ?? snapshot?.tree
  if (tree === undefined)
    return err({ type: 'not_stated', why: 'snapshot_not_found', message: NO_TREE })
  const { config, isolation } = run_created
  const made = applied.flatMap(({ branch: name, commit }) =>
    name === undefined || commit === undefined ? [] : [{ name, digest: { gitCommit: commit } }],
  )
  const named = (name: string, digest: string | undefined) =>
    digest === undefined ? [] : [{ name, digest: { sha256: digest } }]
  const { run_id, length, head } = proof
  const run = {
    name: 'run',
    uri: `urn:uuid:${run_id}`,
    annotations: { goal: config.goal, model: config.model_name, records: length, head },
  }
  const statement = {
    _type: STATEMENT,
    subject: [{ name: 'files', digest: { gitTree: tree } }, ...made],
    predicateType: TEST_RESULT,
    predicate: {
      result: resultOf(run_end),
      configuration: [
        run,
        ...named('isolation', isolation?.policy_sha256),
        ...named('accept', config.accept?.sha256),
        ...checkpointOf(log),
      ],
      ...testsOf(config.goal, run_end.verdict),
    },
  }
  return ok(enveloped(canonicalText(statement), signer))
}

const NOT_ENDED =
  'The run has not ended, so it has no result yet. Export the statement after its end.'
const NO_TREE =
  'The run has no snapshot of its files, so there is nothing that a statement could be about. Export it as an archive.'

async function readSaid(
  store: StreamReader,
  { run_id, length }: RunProof,
): Promise<Result<Said, LoadError>> {
  const said: Said = { applied: [] }
  const isSaid = ({ kind }: RunRecord): boolean => KINDS.some((each) => each === kind)
  for await (const page of recordPages(store, run_id, { to: length - 1 })) {
    if (page.isErr()) return err(page.error)
    for (const { record } of page.value) {
      if (record.kind === 'changes_applied') said.applied.push(record.payload)
      else if (isSaid(record)) Object.assign(said, { [record.kind]: record.payload })
    }
  }
  return ok(said)
}

/** A goal that was reached in a way that raises doubts, or that nobody looked at, is not simply passed. */
function resultOf({ status, verdict }: PayloadOf<'run_end'>): 'PASSED' | 'WARNED' | 'FAILED' {
  if (status !== 'achieved') return 'FAILED'
  return verdict !== undefined && doubtOf(verdict) === null ? 'PASSED' : 'WARNED'
}

function testsOf(goal: string, verdict: RunVerdict | undefined) {
  const { as_is, original_checks, accept, tampering = [], dependencies } = verdict ?? {}
  const found = Object.entries({ as_is, original_checks, accept })
  const of = (wanted: string) =>
    found.flatMap(([name, what]) => (what === wanted ? [`${goal}/${name}`] : []))
  const doubts = [
    ...(tampering.length > 0 ? ['protected_files'] : []),
    ...(dependencies === 'changed' ? ['dependencies'] : []),
  ]
  return {
    passedTests: of('achieved'),
    warnedTests: [...of('cannot_check'), ...doubts],
    failedTests: of('not_achieved'),
  }
}

/** The note about the log of checkpoints, and how it leads to the run: as `log.json` of an export. */
function checkpointOf(log: LogProof | null) {
  if (log === null) return []
  const { note, ...proof } = log
  const content = Buffer.from(note).toString('base64')
  const digest = { sha256: sha256(note) }
  return [{ name: 'checkpoint', digest, content, mediaType: 'text/plain', annotations: proof }]
}

function enveloped(payload: string, { key, sign }: Signer): string {
  const bytes = Buffer.byteLength(payload)
  const signature = sign(`DSSEv1 ${PAYLOAD.length} ${PAYLOAD} ${bytes} ${payload}`)
  const envelope = {
    payloadType: PAYLOAD,
    payload: Buffer.from(payload).toString('base64'),
    signatures: [{ keyid: key, sig: Buffer.from(signature, 'hex').toString('base64') }],
  }
  return `${JSON.stringify(envelope)}\n`
}
