import { principalOf } from '../run/attribution.ts'
import type { SeqRecord } from '../run/seq-record.ts'
import classes from './rows.module.css'

/** Who caused a record, after what they did; nothing if no person did. */
export function By({ record }: { readonly record: SeqRecord }) {
  const principal = principalOf(record)
  if (principal === null) return null
  return (
    <>
      {' '}
      by <b className={classes.principal}>{principal}</b>
    </>
  )
}
