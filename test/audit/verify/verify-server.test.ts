import { Readable } from 'node:stream'
import { err, ok } from 'neverthrow'
import { expect, test } from 'vitest'
import type { LedgerProof } from '../../../src/api/audit.ts'
import { type ServerReader, verifyServer } from '../../../src/audit/verify/verify-server.ts'
import { seal } from '../../../src/checkpoints/keyring.ts'
import { sha256 } from '../../../src/lib/sha256.ts'
import { GENESIS } from '../../../src/log/chain.ts'
import { checkpointOver, NOW, newKeys } from '../support.ts'

test('a server that joins the log while it is verified is no finding: its key is read after what it has signed', async () => {
  const own = await newKeys()
  const other = await newKeys()
  const signed_at = NOW.toISOString()
  const proof = seal<LedgerProof>(
    { type: 'retrai.ledger-proof.v1', ledger: 'tokens', length: 0, head: GENESIS, signed_at },
    other.signer,
  )
  const checkpoint = await checkpointOver(other)
  const read = new Set<string>()
  const answer = (path: string): unknown => {
    const [name] = path.split('?')
    read.add(name ?? '')
    if (name === '/api/checkpoints') return path.endsWith('after=-1') ? [checkpoint] : []
    if (name === '/api/ledgers') return [proof]
    const isSigned = read.has('/api/checkpoints') && read.has('/api/ledgers')
    const joined = path.endsWith('all=true') && isSigned ? other.published.keys : []
    return { keys: [...own.published.keys, ...joined] }
  }
  const server: ServerReader = {
    json: async (path, schema) => ok(schema.parse(answer(path))),
    stream: async () => ok(Readable.from([])),
    runs: async () => ok([]),
  }
  const report = (await verifyServer(server))._unsafeUnwrap()
  expect(report).toMatchObject({ holds: true, findings: [], checkpoints: [0] })
})

test('a run whose export cannot be read is reported as that, and not as dropped', async () => {
  const keys = await newKeys()
  const head = { run_id: '550e8400-e29b-41d4-a716-446655440000', length: 3, head: sha256('') }
  const checkpoint = await checkpointOver(keys, head)
  const server: ServerReader = {
    json: async (path, schema) => {
      if (path.startsWith('/api/keys')) return ok(schema.parse(keys.published))
      return ok(schema.parse(path.endsWith('after=-1') ? [checkpoint] : []))
    },
    stream: async (path) =>
      path.endsWith('/export')
        ? err({ code: 'damaged_record', message: 'Record 1 of this run cannot be read.' })
        : ok(Readable.from([Buffer.from(`${JSON.stringify(head)}\n`)])),
    runs: async () => ok([]),
  }
  const { findings } = (await verifyServer(server))._unsafeUnwrap()
  expect(findings.map(({ problem }) => problem)).toEqual(['unreadable'])
})
