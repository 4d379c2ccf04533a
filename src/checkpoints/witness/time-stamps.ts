import { err, ok, type Result } from 'neverthrow'
import type { LogState } from '../../api/log.ts'
import { Backoff, type PauseBoundsMs, sleep } from '../../lib/backoff.ts'
import type { Logger } from '../../lib/logger.ts'
import { messageOf } from '../../lib/message-of.ts'
import { sha256 } from '../../lib/sha256.ts'
import { Signal } from '../../lib/signal.ts'
import { noteOf } from '../../lib/signed-note.ts'
import type { EventStore } from '../../store/event-store.ts'
import { COSIGNATURE_STREAM, stampedEvent } from './cosignatures.ts'
import { within } from './offer.ts'
import type { OwnLog } from './own-log.ts'

/** An authority for time stamps (RFC 3161), and the certificates that its stamps must lead to, in PEM. */
export type StampAuthority = { readonly url: string; readonly certificates: string }

type TimeStampsDeps = {
  readonly ownLog: OwnLog
  readonly store: Pick<EventStore, 'append'>
  readonly authority: StampAuthority
  readonly fetch: typeof fetch
  readonly log: Pick<Logger, 'info' | 'warn'>
  readonly everyMs?: number
  readonly retryMs?: PauseBoundsMs
}

/** There is at most one stamp in this time. */
const EVERY_MS = 10 * 60_000
const RETRY_MS = [5_000, EVERY_MS] as const

/** Has the time of the newest checkpoint stamped, from time to time. Nothing waits for that. */
export class TimeStamps {
  readonly #deps: TimeStampsDeps
  readonly #news = new Signal()
  readonly #end = new AbortController()
  readonly #following: Promise<void>
  #problem: string | null = null

  constructor(deps: TimeStampsDeps) {
    this.#deps = deps
    this.#following = this.#follow()
  }

  /** A checkpoint was written. */
  notice(): void {
    this.#news.notify()
  }

  state(): NonNullable<LogState['stamp']> {
    const { head, name = null, at = null } = this.#deps.ownLog.stamps.at(-1) ?? {}
    return { name, size: head?.size ?? null, at, problem: this.#problem }
  }

  async stop(): Promise<void> {
    this.#end.abort()
    await this.#following
  }

  async #follow(): Promise<void> {
    const { retryMs = RETRY_MS, log } = this.#deps
    const { signal } = this.#end
    const backoff = new Backoff(retryMs)
    while (!signal.aborted) {
      const { count } = this.#news
      const problem = await this.#stamp().catch(messageOf)
      if (signal.aborted) return
      if (problem !== null && problem !== this.#problem)
        log.warn({ problem }, 'the time of the newest checkpoint is not stamped')
      this.#problem = problem
      if (problem !== null) await backoff.wait(signal)
      else {
        backoff.reset()
        await this.#news.wait(signal, count)
      }
    }
  }

  /** @returns why the newest checkpoint has no stamp; null if it has one, or there is none */
  async #stamp(): Promise<string | null> {
    const { ownLog, authority, fetch, store, everyMs = EVERY_MS } = this.#deps
    const { signal } = this.#end
    const read = await ownLog.read()
    if (read.isErr()) return `The log cannot be read: ${read.error.message}`
    const head = read.value
    const last = ownLog.stamps.at(-1)
    if (head.size === 0 || last?.head.size === head.size) return null
    const early = (last?.created ?? 0) + everyMs - Date.now()
    if (early > 0) return (await sleep(Math.min(early, everyMs), signal)) ? this.#stamp() : null
    const signed = await ownLog.sign(head)
    if (signed.isErr()) return signed.error.message
    // Most servers need none of it.
    const { checkStamp } = await import('./stamp-token.ts')
    const { text } = signed.value
    const response = await fetch(authority.url, {
      method: 'POST',
      headers: { 'content-type': 'application/timestamp-query' },
      body: await stampRequest(text),
      signal: within(signal),
    })
    if (response.status !== 200) return `It answers with the status ${response.status}.`
    const token = await stampInAnswer(await response.arrayBuffer())
    if (token.isErr()) return token.error
    const checked = await checkStamp(text, token.value, authority.certificates)
    if (checked.isErr()) return `Its time stamp does not hold: ${checked.error}.`
    const { name, at, chain } = checked.value
    const note = noteOf(signed.value)
    const stamp = { note, token: token.value.toString('base64'), chain, name, at }
    const appended = await store.append(COSIGNATURE_STREAM, [stampedEvent(stamp)], {
      expectedRevision: 'any',
    })
    if (appended.isErr()) return `The time stamp is not in the log yet: ${appended.error.type}.`
    ownLog.addStamp({ head, stamp, revision: appended.value.revision, created: Date.now() })
    return null
  }
}

/** The question for a time stamp over a text, in DER. */
async function stampRequest(text: string): Promise<Uint8Array<ArrayBuffer>> {
  const { OctetString } = await import('asn1js')
  const { AlgorithmIdentifier, id_sha256, MessageImprint, TimeStampReq } = await import('pkijs')
  const valueHex = new Uint8Array(Buffer.from(sha256(text), 'hex')).buffer
  const messageImprint = new MessageImprint({
    hashAlgorithm: new AlgorithmIdentifier({ algorithmId: id_sha256 }),
    hashedMessage: new OctetString({ valueHex }),
  })
  const request = new TimeStampReq({ version: 1, messageImprint, certReq: true })
  return new Uint8Array(request.toSchema().toBER())
}

/** The token in the answer of an authority, in DER. The error is a text for people. */
export async function stampInAnswer(answer: ArrayBuffer): Promise<Result<Buffer, string>> {
  const { TimeStampResp } = await import('pkijs')
  try {
    const { status, timeStampToken } = TimeStampResp.fromBER(answer)
    if (timeStampToken !== undefined) return ok(Buffer.from(timeStampToken.toSchema().toBER()))
    const why = status.statusStrings?.map(({ valueBlock }) => valueBlock.value).join(', ')
    return err(`It gives no time stamp: ${why || `status ${status.status}`}.`)
  } catch {
    return err('It answers with something else than a time stamp.')
  }
}
