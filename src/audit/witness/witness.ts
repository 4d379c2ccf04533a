import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isConsistent } from '../../lib/merkle-tree.ts'
import { codeOf } from '../../lib/message-of.ts'
import { sha256 } from '../../lib/sha256.ts'
import {
  checkNote,
  type NoteKey,
  noteOf,
  readTreeNote,
  type SignedNote,
  signatureLine,
  signNote,
  type TreeHead,
} from '../../lib/signed-note.ts'
import { writeDurably } from '../../lib/write-durably.ts'
import { readAddCheckpoint, SIZE_TYPE } from './add-checkpoint.ts'

export type WitnessAnswer = {
  readonly status: 200 | 400 | 403 | 404 | 409 | 422
  readonly body: string
  readonly type: string
}

type WitnessDeps = {
  readonly dir: string
  readonly key: NoteKey
  /** @returns the Ed25519 signature, hex */
  readonly sign: (text: string) => string
  /** Those that it watches, by any of their keys. */
  readonly logs: readonly NoteKey[]
  readonly clock: () => Date
}

const SUFFIX = '.checkpoint'

/**
 * A witness as of C2SP tlog-witness. For each log it keeps the newest tree that it has cosigned, in a file of a few hundred
 * bytes, and it cosigns only what begins with that.
 */
export class Witness {
  readonly #deps: WitnessDeps
  /** Requests are answered one after the other: between a comparison and what is kept then, nothing else is kept. */
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
    const request = readAddCheckpoint(text)
    if (request === null) return answered(400, 'This is not a request of tlog-witness.')
    const { old, proof, note, head } = request
    const keys = this.#deps.logs.filter(({ name }) => name === head.origin)
    if (keys.length === 0) return answered(404, 'This witness does not know the log.')
    const checked = keys.map((key) => checkNote(note, key).type)
    if (checked.includes('bad') || !checked.includes('good')) {
      return answered(403, 'No key that this witness knows of the log has signed this.')
    }
    if (old > head.size) return answered(400, 'The old size is larger than the new one.')
    const kept = await readKept(this.#deps.dir, head.origin)
    const before = kept?.head ?? { size: 0, root: head.root }
    if (old !== before.size) return { ...answered(409, String(before.size)), type: SIZE_TYPE }
    const isEmpty = head.size > 0 || head.root.toString('hex') === sha256('')
    if (!isEmpty || !isConsistent(before, head, proof)) {
      return answered(422, 'The tree does not begin with what this witness has seen of the log.')
    }
    return answered(200, await this.#cosign(note, keys, head))
  }

  /** Keeps the tree, and then signs it. */
  async #cosign(note: SignedNote, keys: readonly NoteKey[], head: TreeHead): Promise<string> {
    const { dir, key, sign, clock } = this.#deps
    const own = signNote(key, note.text, sign, clock())
    const verified = note.signatures.filter(({ name, id }) =>
      keys.some((each) => each.name === name && each.id === id),
    )
    const kept = { text: note.text, signatures: [...verified, own] }
    await writeDurably(join(dir, `${sha256(head.origin)}${SUFFIX}`), noteOf(kept))
    return signatureLine(own)
  }
}

const answered = (status: WitnessAnswer['status'], body: string): WitnessAnswer => {
  return {
    status,
    body: body.endsWith('\n') ? body : `${body}\n`,
    type: 'text/plain; charset=utf-8',
  }
}

/** What a witness has cosigned last of a log; null if it has cosigned nothing. Rejects if that is not known. */
async function readKept(dir: string, origin: string) {
  const text = await readCosigned(dir, sha256(origin))
  return text === null ? null : parsed(text)
}

/** @throws if it is not what a witness writes */
function parsed(text: string) {
  const kept = readTreeNote(text)
  if (kept === null) throw new Error(`a file of the witness is damaged: ${text}`)
  return kept
}

/** The note that a witness has cosigned last, by the SHA-256 of the origin; null if there is none. */
export async function readCosigned(dir: string, originHash: string): Promise<string | null> {
  try {
    return await readFile(join(dir, `${originHash}${SUFFIX}`), 'utf8')
  } catch (cause) {
    if (codeOf(cause) === 'ENOENT') return null
    throw cause
  }
}

/** All that a witness has seen. @param names the files in its folder @throws if one is not what a witness writes */
export async function* witnessed(dir: string, names: readonly string[], key: NoteKey) {
  for (const name of names.filter((each) => each.endsWith(SUFFIX))) {
    const { note, head } = parsed(await readFile(join(dir, name), 'utf8'))
    const cosigned = checkNote(note, key)
    yield { head, at: cosigned.type === 'good' ? new Date(cosigned.at) : null }
  }
}
