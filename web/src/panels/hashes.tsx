import { CopyButton } from '@mantine/core'
import type { RunView } from '../run/run-view.ts'
import { formatCount } from '../ui/format.ts'
import type { ProofVerdict } from '../verify/protocol.ts'
import type { Verifying } from '../verify/use-verification.ts'
import classes from './trust-panel.module.css'

type Props = {
  readonly view: RunView
  readonly verifying: Verifying
  readonly proof: ProofVerdict | null
}

/** What to keep, or to compare with a kept copy: this page cannot check who operates the server. */
export function Hashes({ view: { records }, verifying: { verified }, proof }: Props) {
  const head = records[verified - 1]?.meta?.hash
  const { key, policy } = proof?.type === 'good' ? proof : { key: null, policy: null }
  if (head === undefined) return null
  return (
    <>
      <dl className={classes.hashes}>
        <Hash name={`Hash of record ${formatCount(verified - 1)}`} value={head} />
        {policy !== null && <Hash name="Signed policy of isolation" value={policy} />}
        {key !== null && <Hash name="Fingerprint of the key" value={key} />}
      </dl>
      {key !== null && (
        <p className={classes.hint}>
          Compare the fingerprint with the one that you have from the operator of the server.
        </p>
      )}
    </>
  )
}

function Hash({ name, value }: { readonly name: string; readonly value: string }) {
  return (
    <div className={classes.hash}>
      <dt>{name}</dt>
      <dd>
        <CopyButton value={value}>
          {({ copied, copy }) => (
            <button type="button" className={classes.hex} title="Copy" onClick={copy}>
              {copied
                ? 'Copied'
                : partsOf(value).map((part) => <span key={part.at}>{part.text}</span>)}
            </button>
          )}
        </CopyButton>
      </dd>
    </div>
  )
}

/** Digits in a row that people can compare without losing their place. */
const DIGITS = 16

/** A hash in parts, which stay whole where it wraps. Together they are its text. */
const partsOf = (hash: string) =>
  Array.from({ length: Math.ceil(hash.length / DIGITS) }, (_, index) => {
    const at = index * DIGITS
    return { at, text: hash.slice(at, at + DIGITS) }
  })
