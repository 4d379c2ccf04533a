import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isConsistent } from '../../lib/merkle-tree.ts'
import { codeOf } from '../../lib/message-of.ts'
import { checkNote, type NoteKey, readTreeNote, type TreeNote } from '../../lib/note-check.ts'
import { sha256 } from '../../lib/sha256.ts'
import { noteOf, signatureLine, signNote } from '../../lib/signed-note.ts'
import { writeDurably } from '../../lib/write-durably.ts'
import { readAddCheckpoint } from './add-checkpoint.ts'

export type WitnessAnswer = {
  readonly status: 200 | 400 | 403 | 404 | 409 | 422
  readonly body: string
  readonly type?: 'text/x.tlog.size'
}

type WitnessDeps = {
  readonly dir: string
  readonly key: NoteKey
  /** @returns the Ed25519 signature, hex */
  readonly sign: (text: string) => string
  /** Keys of logs. A log may have several. */
  readonly logs: readonly NoteKey[]
  readonly clock: () => Date
}

/** A file for each log, of a few hundred bytes: the newest note that the witness has signed. */
const SUFFIX = '.checkpoint'
const fileOf = (dir: string, originHash: string): string => join(dir, `${originHash}${SUFFIX}`)

/** The SHA-256 of the origins of which there are files. @param names of a folder */
export const originsIn = (names: readonly string[]): string[] =>
  names.filter((name) => name.endsWith(SUFFIX)).map((name) => name.slice(0, -SUFFIX.length))

/** What a witness has signed last of a log; null if it is nothing. Rejects if that is not known. */
export async function readSeen(dir: string, originHash: string): Promise<TreeNote | null> {
  const text = await readFile(fileOf(dir, originHash), 'utf8').catch((cause) => {
    if (codeOf(cause) === 'ENOENT') return null
    throw cause
  })
  const seen = text === null ? null : readTreeNote(text)
  if (text !== null && seen === null) {
    throw new Error(
      `${fileOf(dir, originHash)} is damaged, so nobody knows what the witness has signed, and it signs nothing more for this log: start a new witness in another folder`,
    )
  }
  return seen
}

/** A witness as of C2SP tlog-witness: it signs a tree only if that begins with all that it has signed before. */
export class Witness {
  readonly #deps: WitnessDeps
  /** One request after the other: nothing is kept between a comparison and what that allows to be kept. */
  #busy: Promise<unknown> = Promise.resolve()

  constructor(deps: WitnessDeps) {
    this.#deps = deps
  }

  /** Rejects if what is kept cannot be read or written. */
  addCheckpoint(request: string): Promise<WitnessAnswer> {
    const answer = this.#busy.then(() => this.#answer(request))
    this.#busy = answer.catch(() => {})
    return answer
  }

  async #answer(text: string): Promise<WitnessAnswer> {
    const { dir, logs } = this.#deps
    const request = readAddCheckpoint(text)
    if (request === null) return { status: 400, body: 'This is not a request of tlog-witness.\n' }
    const { old, proof, note, head } = request
    const keys = logs.filter(({ name }) => name === head.origin)
    if (keys.length === 0) return { status: 404, body: 'This witness does not know the log.\n' }
    const signatures = keys.map((key) => checkNote(note, key).type)
    if (signatures.includes('bad') || !signatures.includes('good')) {
      return { status: 403, body: 'No key of the log that this witness knows has signed this.\n' }
    }
    if (old > head.size) return { status: 400, body: 'The old tree is larger than the new one.\n' }
    const before = (await readSeen(dir, sha256(head.origin)))?.head ?? { size: 0, root: head.root }
    if (old !== before.size) {
      return { status: 409, body: `${before.size}\n`, type: 'text/x.tlog.size' }
    }
    const isTree = head.size > 0 || head.root.toString('hex') === sha256('')
    if (isTree && isConsistent(before, head, proof)) return this.#cosign(request, keys)
    return { status: 422, body: 'The tree does not begin with what this witness has seen.\n' }
  }

  /** Keeps the tree, and only then signs it. */
  async #cosign({ note, head }: TreeNote, keys: readonly NoteKey[]): Promise<WitnessAnswer> {
    const { dir, key, sign, clock } = this.#deps
    const own = signNote(key, note.text, sign, clock())
    const isKnown = ({ name, id }: { name: string; id: string }): boolean =>
      keys.some((each) => each.name === name && each.id === id)
    const signatures = [...note.signatures.filter(isKnown), own]
    await writeDurably(fileOf(dir, sha256(head.origin)), noteOf({ text: note.text, signatures }))
    return { status: 200, body: signatureLine(own) }
  }
}
