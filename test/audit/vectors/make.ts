/**
 * Writes the test vectors beside this file, with keys, salts and times that are always the same:
 * `node test/audit/vectors/make.ts`. The archives of version 1 stay as an earlier version of retrAI wrote them.
 */
import { createPrivateKey, createPublicKey, sign } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Checkpoint, RunHead } from '../../../src/api/audit.ts'
import { merkleRoot } from '../../../src/audit/checkpoints/merkle.ts'
import { leafOf, proveInclusion, sortedHeads } from '../../../src/audit/checkpoints/run-heads.ts'
import type { Keys } from '../../../src/audit/proofs/keyring.ts'
import { fingerprintOf } from '../../../src/audit/proofs/public-keys.ts'
import { checkpointHash, seal } from '../../../src/audit/proofs/statements.ts'
import type { RunRecord } from '../../../src/domain/records.ts'
import { sha256 } from '../../../src/lib/sha256.ts'
import { GENESIS } from '../../../src/log/chain.ts'
import { encode } from '../../../src/log/codec.ts'
import { canonicalText, committed } from '../../../src/log/commitment.ts'
import { committedRedacted } from '../../../src/log/redacted-record.ts'
import type { RecordedEvent } from '../../../src/store/event-store.ts'
import { archiveOf, NOW, type Taken, withTaken } from '../support.ts'

export const FOLDER = import.meta.dirname
const RUN_ID = '550e8400-e29b-41d4-a716-446655440000'
const OUTPUT = Buffer.from('one line of many, with an ö\n'.repeat(40))

/** The key of the first example of RFC 8032, which everybody has. */
const SEED = '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60'

function exampleKeys(): Keys {
  const der = Buffer.from(`302e020100300506032b657004220420${SEED}`, 'hex')
  const privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  const publicKey = createPublicKey(privateKey)
  const fingerprint = fingerprintOf(publicKey)
  const public_key = publicKey.export({ type: 'spki', format: 'pem' }).toString()
  const key = { fingerprint, public_key, created: NOW.toISOString(), retired: null }
  return {
    signer: {
      key: fingerprint,
      sign: (text) => sign(null, Buffer.from(text), privateKey).toString('hex'),
    },
    published: { keys: [key] },
  }
}

const at = (offset: number) => ({ run_id: RUN_ID, iteration: 1, ts: 1_771_416_000.125 + offset })

const records: readonly RunRecord[] = [
  {
    ...at(0),
    kind: 'run_created',
    iteration: 0,
    payload: {
      config: {
        goal: 'pytest',
        cwd: '/srv/it/väst',
        model_name: 'scripted',
        max_iterations: 2,
        hitl_enabled: false,
        max_cost_usd: 0.5,
        max_tokens: null,
        max_seconds: null,
        shell_goal: null,
      },
      system_prompt: 'Mend it.\n"Quotes", \\, \u0007, \u2028 and 😀.',
    },
  },
  { ...at(0.1), kind: 'run_claimed', iteration: 0, payload: { claimant: 'p', pid: 7, host: 'a' } },
  { ...at(0.2), kind: 'step_start', payload: { node: 'plan' } },
  {
    ...at(1),
    kind: 'llm_usage',
    payload: {
      input_tokens: 515,
      output_tokens: 163,
      cost_usd: 1e-7,
      model_name: 'scripted',
      duration_ms: 12,
      omitted_turns: 0,
    },
  },
  {
    ...at(1),
    kind: 'assistant_message',
    payload: {
      text: null,
      tool_calls: [
        {
          call_id: 'c1',
          tool: 'bash_exec',
          args: {
            'a/b~c': ['x', 1e21, -0.5, true, null, { '': 'empty name' }],
            'é😀': 'ö',
            '10': '2',
          },
        },
      ],
      finish_reason: 'tool_calls',
    },
  },
  { ...at(1), kind: 'step_start', payload: { node: 'act' } },
  {
    ...at(1.5),
    kind: 'tool_call',
    payload: { call_id: 'c1', tool: 'bash_exec', args: { '10': '2' }, read_only: false },
  },
  {
    ...at(2),
    kind: 'tool_result',
    payload: {
      call_id: 'c1',
      tool: 'bash_exec',
      output: 'one line of many …',
      exit_code: 0,
      outcome: 'ok',
      duration_ms: 3,
      bytes: OUTPUT.length,
      truncated: true,
      sha256: sha256(OUTPUT),
    },
  },
  { ...at(2), kind: 'step_start', payload: { node: 'evaluate' } },
  {
    ...at(3),
    kind: 'goal_check',
    payload: { achieved: true, reason: 'All 9 tests passed', details: '', duration_ms: 900 },
  },
  { ...at(3), kind: 'iteration_complete', payload: { iteration: 1, tokens: 678, cost_usd: 1e-7 } },
  {
    ...at(3),
    kind: 'run_end',
    payload: {
      achieved: true,
      iterations: 1,
      total_tokens: 678,
      estimated_cost_usd: 1e-7,
      status: 'achieved',
      reason: 'All 9 tests passed',
    },
  },
]

const saltOf = (text: string): string => sha256(text).slice(0, 32)

/** What is redacted from the example: two strings of one record, and an output with its artifact. */
const TAKEN: readonly Taken[] = [
  { seq: 4, pointer: '/tool_calls/0/args/a~1b~0c/0' },
  { seq: 7, pointer: '/output', artifact: sha256(OUTPUT) },
  { seq: 4, pointer: '/tool_calls/0/args/é😀' },
]

function exampleEvents(): RecordedEvent[] {
  let prev_hash = GENESIS
  return records.map((record, revision) => {
    const salt = saltOf(`salt ${revision}`)
    const principal = revision === 0 ? { principal: 'local' } : {}
    const meta = { command_id: `command-${revision}`, ...principal, salt, prev_hash }
    const { event, logged } = encode(revision, record, meta)
    prev_hash = logged.meta.hash
    const created = 1_771_416_000_200 + revision
    return { ...event, stream: `run-${RUN_ID}`, revision, position: String(revision), created }
  })
}

const NUMBERS = [
  0, -0.5, 1e21, 1e-7, 123456789012345680000, 0.1, 1771416000.125, 4.35, 1e23, 5e-324,
]

function recordVector(event: RecordedEvent | undefined) {
  if (event === undefined) throw new Error('there is no such event')
  const data = JSON.parse(event.data)
  const metadata = JSON.parse(event.metadata)
  const { salt, salts, redacted, hash, seal: _, ...meta } = metadata
  const payload = JSON.parse(
    redacted === undefined
      ? committed(data.payload, salt)
      : committedRedacted(data.payload, { salts, redacted }),
  )
  const canonical = canonicalText({ ...data, ...meta, payload, seq: event.revision })
  return {
    data,
    metadata,
    seq: event.revision,
    canonical,
    hash,
    id: event.id,
  }
}

function merkleVectors(keys: Keys) {
  const heads: RunHead[] = Array.from({ length: 5 }, (_, index) => ({
    run_id: `${sha256(`run ${index}`).slice(0, 8)}-0000-4000-8000-000000000000`,
    length: index + 1,
    head: sha256(`head ${index}`),
  }))
  const sorted = sortedHeads(heads)
  const first = checkpointOf(keys, 0, GENESIS, sorted.slice(0, 2))
  const second = checkpointOf(keys, 1, checkpointHash(first), sorted)
  const log = {
    revision: 0,
    checkpoint: second,
    heads: new Map(sorted.map((head) => [head.run_id, head])),
    pending: [],
  }
  return {
    heads: sorted,
    leaves: sorted.map((head) => leafOf(head).toString('hex')),
    roots: [0, 1, 2, 3, 4, 5].map((count) =>
      merkleRoot(sorted.slice(0, count).map(leafOf)).toString('hex'),
    ),
    checkpoints: [first, second],
    inclusions: sorted.map(({ run_id }) => proveInclusion(log, run_id)),
  }
}

function checkpointOf(keys: Keys, number: number, previous: string, heads: RunHead[]): Checkpoint {
  return seal<Checkpoint>(
    {
      type: 'retrai.checkpoint.v1',
      log_id: '1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed',
      number,
      runs: heads.length,
      root: merkleRoot(heads.map(leafOf)).toString('hex'),
      previous,
      signed_at: NOW.toISOString(),
    },
    keys.signer,
  )
}

/** The vectors, and the archive that goes with them. */
export async function makeVectors() {
  const keys = exampleKeys()
  const events = exampleEvents()
  const redacted = withTaken(events, TAKEN, (entry) => saltOf(`redaction ${entry}`))
  const takenFrom = new Set(TAKEN.map(({ seq }) => seq))
  const statement = { type: 'example', key: keys.signer.key, text: 'ö', number: 1e21 }
  const vectors = {
    numbers: NUMBERS.map((number) => ({ number, canonical: canonicalText([number]) })),
    commitment: {
      salt: '00112233445566778899aabbccddeeff',
      payload: { 'a/b~c': ['x', { '': 'y' }], n: 1.5 },
      committed: JSON.parse(
        committed({ 'a/b~c': ['x', { '': 'y' }], n: 1.5 }, '00112233445566778899aabbccddeeff'),
      ),
    },
    records: events.map(recordVector),
    redacted_records: redacted
      .filter(({ stream, revision }) => stream === `run-${RUN_ID}` && takenFrom.has(revision))
      .map(recordVector),
    redactions: redacted.filter(({ stream }) => stream !== `run-${RUN_ID}`).map(recordVector),
    sealed_entry: recordVector(
      withTaken(events, TAKEN.slice(0, 1), (entry) => saltOf(`redaction ${entry}`), keys.signer).at(
        -1,
      ),
    ),
    keys: keys.published,
    seal: {
      statement,
      canonical: canonicalText(statement),
      signature: keys.signer.sign(canonicalText(statement)),
    },
    merkle: merkleVectors(keys),
  }
  const archive = await archiveOf(events, keys, new Map([[sha256(OUTPUT), OUTPUT]]))
  const redactedArchive = await archiveOf(redacted, keys)
  return { vectors, archive, redactedArchive }
}

if (import.meta.main) {
  const { vectors, archive, redactedArchive } = await makeVectors()
  await writeFile(join(FOLDER, 'vectors.json'), `${JSON.stringify(vectors, null, 2)}\n`)
  await writeFile(join(FOLDER, 'example-v2.tar.gz'), archive)
  await writeFile(join(FOLDER, 'redacted-v2.tar.gz'), redactedArchive)
}
