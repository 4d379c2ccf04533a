import { useMutation } from '@tanstack/react-query'
import { use } from 'react'
import { fetchArtifact } from '../api/files.ts'
import { messageOf } from '../api/problem.ts'
import { Code } from '../code/code.tsx'
import { formatBytes } from '../ui/format.ts'
import { RowToolsContext } from './row-context.ts'
import classes from './rows.module.css'
import { sha256Of } from './sha256.ts'

type Props = {
  readonly bytes: number
  readonly sha256: string
  readonly look: 'code' | 'terminal'
}

/** The whole of an output that was too long for the log, on request. */
export function WholeOutput({ bytes, sha256, look }: Props) {
  const { runId } = use(RowToolsContext)
  const whole = useMutation({
    mutationFn: async () => {
      const content = await fetchArtifact(runId, sha256)
      const found = await sha256Of(content)
      return {
        text: new TextDecoder().decode(content),
        genuine: found === sha256,
      }
    },
  })
  if (whole.data === undefined) {
    return (
      <p className={classes.nothing}>
        The record holds the beginning and the end of {formatBytes(bytes)}.{' '}
        <button type="button" className={classes.link} onClick={() => whole.mutate()}>
          {whole.isPending ? 'Fetching' : 'Fetch all of it'}
        </button>
        {whole.isError && <span role="alert"> {messageOf(whole.error)}</span>}
      </p>
    )
  }
  const { text, genuine } = whole.data
  return (
    <>
      <p className={classes.nothing}>{verdictOf(genuine)}</p>
      <div className={classes.whole}>
        <Code text={text.trimEnd()} look={look} />
      </div>
    </>
  )
}

function verdictOf(genuine: boolean): string {
  return genuine
    ? 'This is the whole output. Its SHA-256 equals the one in the record.'
    : 'WRONG: the SHA-256 of this file is not the one in the record.'
}
