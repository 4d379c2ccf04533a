import type { ResultAsync } from 'neverthrow'
import type { LogState } from '../../api/log.ts'
import { Backoff, type PauseBoundsMs } from '../../lib/backoff.ts'
import type { Logger } from '../../lib/logger.ts'
import { messageOf } from '../../lib/message-of.ts'
import type { TreeHead } from '../../lib/note-check.ts'
import { within } from '../../lib/promises.ts'
import { Signal } from '../../lib/signal.ts'
import type { EventStore, NewEvent } from '../../store/event-store.ts'
import type { Keyring, Keys } from '../keyring.ts'
import { COSIGNATURE_STREAM, cosignedEvent, leftEvent } from './cosignatures.ts'
import { type NamedWitness, offer, type Signed, shownBy } from './offer.ts'
import type { OwnLog } from './own-log.ts'

type WitnessesDeps = {
  readonly ownLog: OwnLog
  readonly store: Pick<EventStore, 'append'>
  readonly keyring: Keyring
  readonly quorum: number
  readonly witnesses: readonly NamedWitness[]
  readonly fetch: typeof fetch
  /** Gives the server another id, and returns it. The error is a text for people. */
  readonly renewServerId: () => ResultAsync<string, string>
  readonly log: Pick<Logger, 'info' | 'warn'>
  readonly retryMs?: PauseBoundsMs
  readonly lateMs?: number
}

const RETRY_MS = [500, 30_000] as const
/** How long the newest checkpoint may lack its quorum before the server warns. */
const LATE_MS = 10 * 60_000
/** For how long a server that stops offers its last checkpoint. */
const LAST_OFFER_MS = 15_000
/** After so many answers without a signature, a witness is asked again later. */
const MAX_ANSWERS = 4

/** What is known of a witness. */
type Link = {
  readonly witness: NamedWitness
  /** The size of the tree that it has probably seen. */
  old: number
  cosigned: { readonly size: number; readonly at: number } | null
  problem: string | null
  /** It says that it has seen another tree than the log has now. */
  doubts: boolean
  /** The fingerprint of the key of this server that it has accepted without a signature of an older one. */
  knows: string | null
  needsRetired: boolean
}
const linkTo = (witness: NamedWitness): Link => {
  const nothing = { old: 0, cosigned: null, problem: null, knows: null }
  return { witness, ...nothing, doubts: false, needsRetired: false }
}

/** Shows the log of checkpoints to all witnesses at the same time. Nothing waits for them. */
export class Witnesses {
  readonly #deps: WitnessesDeps
  readonly #links: Link[]
  readonly #news = new Signal()
  readonly #stop = new AbortController()
  readonly #end = new AbortController()
  readonly #following: Promise<unknown>
  /** What is not in the log yet. */
  readonly #unsaved: NewEvent[] = []
  #saving: Promise<void> = Promise.resolve()
  /** Since when the newest checkpoint lacks its quorum; null if it has it. */
  #lacksSince: number | null = null
  #isLate = false
  #hasBelieved = false
  #isLeaving = false

  constructor(deps: WitnessesDeps) {
    this.#deps = deps
    this.#links = deps.witnesses.map(linkTo)
    this.#following = Promise.all(this.#links.map((link) => this.#follow(link)))
  }

  /** A checkpoint was written. */
  notice(): void {
    this.#news.notify()
  }

  state(): Pick<LogState, 'quorum' | 'witnesses'> {
    const { quorum: needed, ownLog } = this.#deps
    const { size } = ownLog.head()
    const seen = this.#links.filter(({ cosigned }) => cosigned?.size === size).length
    return {
      quorum: { needed, seen, holds: seen >= needed },
      witnesses: this.#links.map(({ witness, cosigned, problem }) => ({
        name: witness.key.name,
        size: cosigned?.size ?? null,
        at: cosigned && new Date(cosigned.at).toISOString(),
        problem,
      })),
    }
  }

  /** Whether the newest checkpoint has lacked its quorum for long. */
  get isLate(): boolean {
    return this.#isLate
  }

  /** Offers the last checkpoint once more, but for no longer than LAST_OFFER_MS. */
  async stop(): Promise<void> {
    this.#stop.abort()
    const last = async (link: Link): Promise<void> => {
      await this.#try(link)
      if (link.needsRetired) await this.#try(link)
    }
    const offered = this.#following.then(() => Promise.all(this.#links.map(last)))
    await within(LAST_OFFER_MS, offered, () => {})
    this.#end.abort()
    await this.#save()
  }

  async #follow(link: Link): Promise<void> {
    const backoff = new Backoff(this.#deps.retryMs ?? RETRY_MS)
    const { signal } = this.#stop
    while (!signal.aborted) {
      const { count } = this.#news
      await this.#try(link)
      this.#look()
      if (link.problem !== null) await backoff.wait(signal)
      else {
        backoff.reset()
        await this.#news.wait(signal, count)
      }
    }
  }

  /** Warns once the quorum is late. */
  #look(): void {
    const { lateMs = LATE_MS, log } = this.#deps
    const { quorum, witnesses } = this.state()
    const now = performance.now()
    const isLacking = !quorum.holds && this.#deps.ownLog.head().size > 0
    this.#lacksSince = isLacking ? (this.#lacksSince ?? now) : null
    const wasLate = this.#isLate
    this.#isLate = this.#lacksSince !== null && now - this.#lacksSince >= lateMs
    if (this.#isLate && !wasLate) log.warn({ witnesses }, 'too few witnesses see the checkpoints')
    if (!this.#isLate && wasLate) log.info({}, 'enough witnesses see the checkpoints again')
  }

  /** Never rejects. */
  async #try(link: Link): Promise<void> {
    link.problem = await this.#offer(link).catch(messageOf)
    void this.#save()
  }

  /** Appends what witnesses have signed. What fails is tried again with the next; what a crash loses, they sign again. */
  #save(): Promise<void> {
    this.#saving = this.#saving.then(async () => {
      const { store, log } = this.#deps
      const events = this.#unsaved.splice(0)
      if (events.length === 0) return
      const appended = await store.append(COSIGNATURE_STREAM, events, { expectedRevision: 'any' })
      if (appended.isOk()) return
      this.#unsaved.unshift(...events)
      log.warn({ error: appended.error }, 'cosignatures are not in the log yet')
    })
    return this.#saving
  }

  /** @returns why the witness has not signed the newest checkpoint; null if it has */
  async #offer(link: Link): Promise<string | null> {
    const { ownLog, keyring, fetch } = this.#deps
    const read = await ownLog.read()
    const keys = await keyring.load()
    if (read.isErr()) return `The log cannot be read: ${read.error.message}`
    if (keys.isErr()) return keys.error.message
    const head = read.value
    link.cosigned ??= ownLog.newestOf(link.witness.key)
    if (head.size === 0 || link.cosigned?.size === head.size) return null
    link.old = Math.max(link.old, link.cosigned?.size ?? 0)
    const isAlone = !link.needsRetired
    const note = await ownLog.sign(head, isAlone)
    if (note.isErr()) return note.error.message
    for (let answers = 0; answers < MAX_ANSWERS; answers += 1) {
      const proof = ownLog.proofFrom(link.old, head.size)
      const request = { old: link.old, proof, note: note.value }
      const answer = await offer(link.witness, request, { fetch, signal: this.#end.signal })
      if (ownLog.origin !== head.origin) return 'The server has another id now.'
      if (answer.type === 'signed') {
        Object.assign(link, { knows: isAlone ? keys.value.signer.key : null, needsRetired: false })
        return this.#take(link, head, answer, keys.value)
      }
      if (answer.type === 'inconsistent') return this.#doubted(link, link.old)
      if (answer.type === 'failed') {
        // Until the witness knows the new key, a retired one signs, too.
        link.needsRetired = isAlone && answer.isKeyUnknown === true && keys.value.retired.length > 0
        return answer.problem
      }
      if (answer.size > head.size) return this.#doubted(link, answer.size)
      link.old = answer.size
    }
    return 'It names another size each time.'
  }

  async #take(link: Link, head: TreeHead, { signatures, at }: Signed, { signer, retired }: Keys) {
    const { ownLog, keyring, log } = this.#deps
    Object.assign(link, { old: head.size, cosigned: { size: head.size, at }, doubts: false })
    ownLog.addCosignatures(head, signatures)
    const note = await ownLog.cosigned(head)
    const keys = (await ownLog.keys()).unwrapOr([])
    if (note.isOk()) this.#unsaved.push(cosignedEvent(note.value, keys))
    if (retired.length === 0 || this.#links.some(({ knows }) => knows !== signer.key)) return null
    const forgotten = await keyring.forgetRetired()
    if (forgotten.isOk()) log.info({ key: signer.key }, 'all witnesses know the new key')
    return null
  }

  /**
   * A witness says that it has seen another tree: the log was put back to an older state, or the witness lies. It is
   * believed if it shows a note of this server, or if too few others are left for a quorum; the latter once in a process.
   */
  async #doubted(link: Link, size: number): Promise<string> {
    link.doubts = true
    const { ownLog, quorum, fetch } = this.#deps
    const { origin } = ownLog
    const calling = { fetch, signal: this.#end.signal }
    const shown = await shownBy(link.witness, origin, calling).catch(() => null)
    const isShown = shown !== null && (await ownLog.isAlien(shown))
    const seen = isShown ? shown.head.size : size
    const left = this.#links.filter(({ doubts }) => !doubts).length
    const isBelieved = isShown || (left < quorum && !this.#hasBelieved)
    if (isBelieved && ownLog.origin === origin && !this.#isLeaving) {
      // Other witnesses may say the same meanwhile.
      this.#isLeaving = true
      const hasLeft = await this.#leave(seen)
      this.#hasBelieved ||= hasLeft && !isShown
      this.#isLeaving = false
    }
    return `It has seen another tree of ${origin}, with ${seen} checkpoints.`
  }

  async #leave(size: number): Promise<boolean> {
    const { ownLog, renewServerId, log } = this.#deps
    const renewed = await renewServerId()
    if (renewed.isErr()) {
      log.warn({ error: renewed.error }, 'the server needs another id, and cannot keep one')
      return false
    }
    const former = ownLog.leave(size, renewed.value)
    this.#unsaved.push(leftEvent(former))
    for (const link of this.#links) Object.assign(link, linkTo(link.witness))
    log.warn({ ...former, now: ownLog.origin }, LEFT)
    return true
  }
}

const LEFT =
  'a witness has seen more checkpoints than the log has: the log was put back to an older state. This server has another id now; give its witnesses the key of GET /api/log/key'
