import { err, ok, type Result, type ResultAsync } from 'neverthrow'
import {
  checkNote,
  type NoteKey,
  type NoteSignature,
  noteKey,
  type SignedNote,
  type TreeHead,
  type TreeNote,
} from '../../lib/note-check.ts'
import { signNote, treeHeadText } from '../../lib/signed-note.ts'
import type { Signer } from '../../log/chain.ts'
import { readLogId } from '../../log/log-identity.ts'
import type { StreamReader } from '../../log/stream-pages.ts'
import type { StoreFailure } from '../../store/event-store.ts'
import type { CheckpointError } from '../checkpoint-stream.ts'
import { FollowedCheckpoints } from '../followed-checkpoints.ts'
import type { Keyring, KeyringFailure } from '../keyring.ts'
import { knownKeys } from '../public-keys.ts'
import {
  cosignatureEntries,
  type FormerTree,
  type StampedTree,
  type TimeStamp,
} from './cosignatures.ts'

export type OwnLogError = CheckpointError | KeyringFailure | StoreFailure

type Deps = {
  readonly store: StreamReader
  readonly keyring: Pick<Keyring, 'load'>
  readonly serverId: string
  /** How many witnesses must see each checkpoint. */
  readonly needed?: number
}

/** How many of the newest sizes are remembered: witnesses take different times. */
const NEWEST = 16
type Stamped = Pick<StampedTree, 'head' | 'revision' | 'created'> & Pick<TimeStamp, 'name' | 'at'>
type Seen = { readonly root: Buffer; readonly byKey: Map<string, NoteSignature> }

/**
 * The log of checkpoints of a server: a Merkle tree whose leaves are the checkpoints that it has signed, in their order.
 * All of it is derived from the log, the keys and the id of the server.
 */
export class OwnLog {
  readonly #deps: Deps
  #logId = ''
  #serverId: string
  readonly followed: FollowedCheckpoints
  /** By the size of the tree, the newest cosignatures by their keys. */
  readonly #seen = new Map<number, Seen>()
  /** The newest size that most witnesses have signed; null for none. */
  kept: number | null = null
  readonly former: FormerTree[] = []
  /** Trees of which an authority has stamped the time, oldest first. The stream has the tokens. */
  readonly stamps: Stamped[] = []

  constructor(deps: Deps) {
    this.#deps = deps
    this.#serverId = deps.serverId
    this.followed = new FollowedCheckpoints(deps.store, deps.keyring, () => this.#begin())
  }

  async #begin(): Promise<Result<void, StoreFailure>> {
    const { store } = this.#deps
    const id = await readLogId(store)
    if (id.isErr()) return err({ type: 'store_failed', message: id.error.message })
    if (id.value === null) return err(NO_ID)
    this.#logId = id.value
    for await (const entry of cosignatureEntries(store)) {
      if (entry.isErr()) return err(entry.error)
      if ('stamp' in entry.value) this.addStamp(entry.value)
      else if (!('note' in entry.value)) this.former.push(entry.value)
      else if (entry.value.head.origin === this.origin) {
        const { head, note } = entry.value
        const ofWitnesses = note.signatures.filter(({ name }) => name !== head.origin)
        this.addCosignatures(head, ofWitnesses)
      }
    }
    return ok()
  }

  get origin(): string {
    return `retrai/${this.#logId}/${this.#serverId}`
  }

  addCosignatures({ size, root }: TreeHead, signatures: readonly NoteSignature[]): void {
    const known = this.#seen.get(size)
    const seen = known?.root.equals(root) ? known : { root, byKey: new Map() }
    for (const each of signatures) seen.byKey.set(`${each.name} ${each.id}`, each)
    this.#seen.delete(size)
    this.#seen.set(size, seen)
    // The newest that most witnesses have signed, of which no more than the quorum count.
    const count = (of: number | null): number =>
      Math.min(this.#deps.needed ?? 1, this.#seen.get(of ?? 0)?.byKey.size ?? 0)
    const more = count(size) - count(this.kept)
    if (more > 0 || (more === 0 && size > (this.kept ?? 0))) this.kept = size
    for (const old of [...this.#seen.keys()].slice(0, -NEWEST)) {
      if (old !== this.kept) this.#seen.delete(old)
    }
  }

  addStamp({ head, stamp: { name, at }, revision, created }: StampedTree): void {
    if (head.origin === this.origin) this.stamps.push({ head, name, at, revision, created })
  }

  #signaturesOf({ size, root }: TreeHead): readonly NoteSignature[] {
    const seen = this.#seen.get(size)
    return seen?.root.equals(root) ? [...seen.byKey.values()] : []
  }

  /** The newest tree that a witness has cosigned, and when (milliseconds since the epoch); null if none is remembered. */
  newestOf(witness: NoteKey): { readonly size: number; readonly at: number } | null {
    for (const size of [...this.#seen.keys()].sort((a, b) => b - a)) {
      const head = this.head(size)
      const note = { text: treeHeadText(head), signatures: this.#signaturesOf(head) }
      const checked = checkNote(note, witness)
      if (checked.type === 'good') return { size, at: checked.at }
    }
    return null
  }

  /** Signs nothing more for the origin. @returns what it was */
  leave(size: number, serverId: string): FormerTree {
    const former = { origin: this.origin, size }
    this.former.push(former)
    this.#serverId = serverId
    this.#seen.clear()
    this.stamps.length = 0
    this.kept = null
    return former
  }

  /** Reads what is new of the checkpoints. */
  read(): ResultAsync<TreeHead, OwnLogError> {
    return this.followed.read().map(() => this.head())
  }

  /** The proof that the tree begins with a smaller one. */
  proofFrom(old: number, size: number): readonly Buffer[] {
    return old === 0 || old === size ? [] : this.followed.tree.consistency(old, size)
  }

  head(size = this.followed.tree.size): TreeHead {
    return { origin: this.origin, size, root: this.followed.tree.root(size) }
  }

  /** The keys that sign notes now: the one in use, then those that witnesses may know instead. */
  #signers(): ResultAsync<readonly (readonly [NoteKey, Signer])[], OwnLogError> {
    return this.#deps.keyring.load().map(({ signer, retired, published }) => {
      const known = knownKeys(published)
      return [signer, ...retired].flatMap((each) => {
        const key = known.get(each.key)
        return key === undefined ? [] : [[noteKey(this.origin, 'ed25519', key), each] as const]
      })
    })
  }

  /** The line of the key in use. */
  key(): ResultAsync<string, OwnLogError> {
    return this.#signers().map(([first]) => first?.[0].line ?? '')
  }

  /** Whether a key of this server has signed a tree with which its log does not begin. */
  async isAlien({ note, head }: TreeNote): Promise<boolean> {
    const keys = await this.#deps.keyring.load()
    const known = keys.map(({ published }) => [...knownKeys(published).values()]).unwrapOr([])
    const isSigned = known.some(
      (key) => checkNote(note, noteKey(this.origin, 'ed25519', key)).type === 'good',
    )
    const own = this.head(Math.min(head.size, this.followed.tree.size))
    return isSigned && !(own.size === head.size && own.root.equals(head.root))
  }

  /** A tree head, signed by this server. @param current by the key in use alone */
  sign(head: TreeHead, current = false): ResultAsync<SignedNote, OwnLogError> {
    const text = treeHeadText(head)
    return this.#signers().map((signers) => {
      const used = current ? signers.slice(0, 1) : signers
      const signatures = used.map(([key, { sign }]) => signNote(key, text, sign, new Date(0)))
      return { text, signatures }
    })
  }

  /** A note with all cosignatures that are known of it. */
  cosigned(head: TreeHead): ResultAsync<SignedNote, OwnLogError> {
    return this.sign(head).map(({ text, signatures }) => {
      return { text, signatures: [...signatures, ...this.#signaturesOf(head)] }
    })
  }

  /** The fingerprints of the keys whose checkpoints are in the tree. */
  keys(): ResultAsync<readonly string[], OwnLogError> {
    return this.#deps.keyring
      .load()
      .map(({ published }) => published.keys.map(({ fingerprint }) => fingerprint))
  }
}

const NO_ID: StoreFailure = { type: 'store_unavailable', message: 'the log has no id yet' }
