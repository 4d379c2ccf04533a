import { useMutation, useQuery } from '@tanstack/react-query'
import { type ReactNode, use } from 'react'
import { fetchArtifact } from '../api/files.ts'
import { messageOf } from '../api/problem.ts'
import { Code } from '../code/code.tsx'
import type { SeqRecordOf } from '../run/seq-record.ts'
import { formatBytes } from '../ui/format.ts'
import { ScrollRegion } from '../ui/scroll-region.tsx'
import { RowToolsContext } from './row-context.ts'
import classes from './rows.module.css'

type Props = {
  readonly bytes: number
  readonly sha256: string
  readonly look: 'code' | 'terminal'
  /** The part of it that the record holds. */
  readonly children: ReactNode
}

/** An output that was too long for the log: the part that is there, and on request the whole in its place. */
export function WholeOutput({ bytes, sha256, look, children }: Props) {
  const { runId } = use(RowToolsContext)
  const whole = useMutation({
    mutationFn: async () => {
      const { content, genuine } = await fetched(runId, sha256)
      return { text: new TextDecoder().decode(content), genuine }
    },
  })
  if (whole.data === undefined) {
    return (
      <>
        {children}
        <p className={classes.nothing}>
          The record holds the beginning and the end of {formatBytes(bytes)}.{' '}
          <button type="button" className={classes.link} onClick={() => whole.mutate()}>
            {whole.isPending ? 'Fetching' : 'Fetch all of it'}
          </button>
          {whole.isError && <span role="alert"> {messageOf(whole.error)}</span>}
        </p>
      </>
    )
  }
  const { text, genuine } = whole.data
  return (
    <>
      <p className={classes.nothing}>{verdictOf(genuine, 'whole output')}</p>
      <ScrollRegion className={classes.whole} label="Whole output">
        <Code text={text.trimEnd()} language={look === 'terminal' ? 'ansi' : null} look={look} />
      </ScrollRegion>
    </>
  )
}

/** The image in the result of a call, as the record names it. It is shown only if it is that one. */
export function ShownImage({ result }: { readonly result: SeqRecordOf<'tool_result'> }) {
  const { runId } = use(RowToolsContext)
  const { image, sha256, output } = result.payload
  const found = useQuery({
    queryKey: ['image', runId, sha256],
    queryFn: async () => {
      const { content, genuine } = await fetched(runId, sha256 ?? '')
      const url = await dataUrlOf(new Blob([content], { type: image?.media_type ?? '' }))
      return { genuine, url }
    },
    staleTime: Number.POSITIVE_INFINITY,
    retry: false,
  })
  if (image === undefined || sha256 === null) return null
  const { data, error } = found
  if (data === undefined) {
    return (
      <p className={classes.nothing} role={error === null ? undefined : 'alert'}>
        {error === null ? 'Fetching the image' : `The image cannot be shown: ${messageOf(error)}`}
      </p>
    )
  }
  return (
    <>
      <p className={classes.nothing}>{verdictOf(data.genuine, 'image')}</p>
      {data.genuine && (
        <ScrollRegion className={classes.whole} label="Image">
          <img
            className={classes.image}
            src={data.url}
            alt={output.includes('\n') ? `${image.width} × ${image.height} pixels` : output}
            width={image.width}
            height={image.height}
          />
        </ScrollRegion>
      )}
    </>
  )
}

/** An artifact, and whether it is the one that the record names. */
async function fetched(runId: string, sha256: string) {
  const content = await fetchArtifact(runId, sha256)
  return { content, genuine: (await sha256Of(content)) === sha256 }
}

function dataUrlOf(file: Blob): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const reader = new FileReader()
  reader.onload = () => resolve(String(reader.result))
  reader.onerror = () => reject(reader.error)
  reader.readAsDataURL(file)
  return promise
}

function verdictOf(genuine: boolean, what: string): string {
  return genuine
    ? `This is the ${what}. Its SHA-256 equals the one in the record.`
    : 'WRONG: the SHA-256 of this file is not the one in the record.'
}

/** SHA-256 (hex). Browsers provide no cryptography of their own without TLS. */
async function sha256Of(content: Uint8Array<ArrayBuffer>): Promise<string> {
  if (!isSecureContext) {
    const { hash } = await import('../verify/node-crypto.ts')
    return hash('sha256', content, 'hex')
  }
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', content))
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
