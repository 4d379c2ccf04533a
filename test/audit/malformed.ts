import { KEYS, MANIFEST, PROOF } from '../../src/audit/bundle/bundle-format.ts'
import type { Keys } from '../../src/checkpoints/keyring.ts'
import { canonicalText } from '../../src/log/commitment.ts'
import { contentOf, listedAgain, type Part, replaced } from './support.ts'

type Statement = { readonly [name: string]: unknown }
type Change = (statement: Statement) => Statement

const without =
  (name: string): Change =>
  ({ [name]: _, ...rest }) =>
    rest
const having =
  (more: Statement): Change =>
  (statement) => ({ ...statement, ...more })

/** Changes the first object of a list. */
const ofFirst =
  (list: string, change: Change): Change =>
  (statement) => {
    const [first, ...others] = statement[list] as readonly Statement[]
    return { ...statement, [list]: [change(first ?? {}), ...others] }
  }
const ofKey = (change: Change): Change => ofFirst('keys', change)
const ofPart = (change: Change): Change => ofFirst('parts', change)

const ofSigned = (moment: string, count: string): readonly Change[] => [
  having({ run_id: 'run-1' }),
  having({ [count]: 2.5 }),
  having({ [count]: '12' }),
  having({ [count]: 0 }),
  having({ [moment]: '2026-02-18T12:00:00Z' }),
  having({ [moment]: '2026-02-30T12:00:00.000Z' }),
  without(moment),
  having({ more: true }),
  having({ key: 'A'.repeat(64) }),
  having({ signature: 'A'.repeat(128) }),
  having({ signature: null }),
  having({ type: 'retrai.checkpoint.v1' }),
]

const CHANGES: Readonly<Record<string, readonly Change[]>> = {
  [KEYS]: [
    having({ keys: {} }),
    having({ more: [] }),
    ofKey(having({ more: null })),
    ofKey(having({ created: 'yesterday' })),
    ofKey(having({ retired: 0 })),
    ofKey(without('retired')),
    ofKey((key) => ({ ...key, fingerprint: String(key.fingerprint).toUpperCase() })),
    ofKey((key) => ({ ...key, public_key: String(key.public_key).trim() })),
    ofKey(having({ public_key: 'a key' })),
    ofKey(having({ fingerprint: '0'.repeat(64) })),
  ],
  [PROOF]: [
    ...ofSigned('signed_at', 'length'),
    having({ head: 'abc' }),
    having({ last_kind: null }),
    having({ policy_sha256: null }),
  ],
  [MANIFEST]: [
    ...ofSigned('exported_at', 'records'),
    having({ parts: {} }),
    having({ missing_artifacts: ['none'] }),
    ofPart(having({ bytes: -1 })),
    ofPart(having({ sha256: null })),
    ofPart(having({ more: 1 })),
  ],
}

/** Exports in which one statement is malformed, and everything else is as the server of these keys would sign it. */
export function withMalformed(parts: readonly Part[], keys: Keys) {
  return Object.entries(CHANGES).flatMap(([path, changes]) =>
    changes.map((change) => ({ path, parts: resealed(parts, path, change, keys) })),
  )
}

function resealed(parts: readonly Part[], path: string, change: Change, keys: Keys): Part[] {
  const { signature: _, ...unsigned }: Statement = JSON.parse(contentOf(parts, path).toString())
  const changed = change(unsigned)
  const signature = path === KEYS ? {} : { signature: keys.signer.sign(canonicalText(changed)) }
  const content = Buffer.from(`${canonicalText({ ...signature, ...changed })}\n`)
  const all = replaced(parts, path, content)
  return path === MANIFEST ? all : listedAgain(all, keys)
}
