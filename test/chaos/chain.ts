import { createHash } from 'node:crypto'
import canonicalize from 'canonicalize'
import * as z from 'zod'
import type { StoredEvent } from './evidence.ts'

// A second implementation of the hash chain of docs/adr/0007: a check of the server must not share its code.

const sha256 = (text: string): string => createHash('sha256').update(text, 'utf8').digest('hex')
const Data = z.record(z.string(), z.unknown())
const Meta = z.looseObject({ salt: z.string(), prev_hash: z.string(), hash: z.string() })

function commitments(value: unknown, path: string, salt: string): unknown {
  if (typeof value === 'string') return sha256(sha256(path + salt) + value)
  if (Array.isArray(value)) return value.map((item, n) => commitments(item, `${path}/${n}`, salt))
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).map(([key, item]) => {
    const escaped = key.replace(/~/g, '~0').replace(/\//g, '~1')
    return [key, commitments(item, `${path}/${escaped}`, salt)]
  })
  return Object.fromEntries(entries)
}

const idOf = (hash: string): string => {
  const variant = ((Number.parseInt(hash.slice(16, 17), 16) % 4) + 8).toString(16)
  const groups = [hash.slice(0, 8), hash.slice(8, 12), `8${hash.slice(13, 16)}`]
  return [...groups, `${variant}${hash.slice(17, 20)}`, hash.slice(20, 32)].join('-')
}

/** What is wrong with the chain of hashes of a stream; empty if nobody has changed anything. */
export function chainProblems(events: readonly StoredEvent[]): string[] {
  const problems: string[] = []
  let previous = '0'.repeat(64)
  for (const { revision, id, data, metadata } of events) {
    const record = Data.parse(JSON.parse(data))
    const { salt, hash, ...rest } = Meta.parse(JSON.parse(metadata))
    const payload = commitments(record.payload, '', salt)
    const text = canonicalize({ ...record, ...rest, payload, seq: revision }) ?? ''
    if (rest.prev_hash !== previous) problems.push(`${revision} does not name the hash before it`)
    if (sha256(text) !== hash) problems.push(`${revision} has another hash than it says`)
    if (idOf(hash) !== id) problems.push(`${revision} has an id that is not of its hash`)
    previous = hash
  }
  return problems
}
