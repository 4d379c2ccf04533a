import { MaskingStream, maskAll, maskOf } from './finder.ts'
import { knownShapes } from './known-shapes.ts'
import { type OwnSecret, ownSecrets, SHORTEST_SECRET } from './own-secrets.ts'
import { privateKeys } from './private-key.ts'
import { KINDS } from './rules.ts'

/** A text that comes in pieces; what comes out is the same, however it is cut. */
export type MaskedText = {
  /** Whether text is held back until more of it tells what it is. */
  readonly holds: boolean
  /** Takes a piece, and answers what is decided of the text by now. */
  write(piece: string): string
  /** Ends the text, and answers the rest of it. */
  end(): string
  /** Ends a text that is cut off here: what may be a part of a secret is left out. */
  cut(): string
}

/**
 * Puts `[masked:<kind>]` in place of secrets: those that are known by their shape, and those of the
 * server itself. Pure; what is masked once is not changed by masking it again.
 */
export type Mask = {
  text(text: string): string
  pieces(): MaskedText
}

/** Makes a mask that knows some secrets by their value, besides all that are known by their shape. */
export function createMask(secrets: readonly OwnSecret[]): Mask {
  // One after the other, the surest first: a shape may begin before or end within a secret of another
  // sort, and would leave a part of it.
  const own = ownSecrets(secrets.filter((secret) => canBeMasked(secret, secrets)))
  const finders = [own, privateKeys, knownShapes]
  return {
    text: (text) => finders.reduce((masked, finder) => maskAll(finder, masked), text),
    pieces: () => inPieces(finders.map((finder) => new MaskingStream(finder))),
  }
}

function inPieces(streams: readonly MaskingStream[]): MaskedText {
  return {
    get holds() {
      return streams.some((stream) => stream.holds)
    },
    write: (piece) => streams.reduce((text, stream) => stream.write(text), piece),
    end: () => streams.reduce((text, stream) => stream.write(text) + stream.end(), ''),
    cut: () => streams.reduce((text, stream) => stream.write(text) + stream.cut(), ''),
  }
}

/** Whether a secret of the server is long enough to be told from a word, and is no part of a mask. */
export function canBeMasked({ value }: OwnSecret, all: readonly OwnSecret[]): boolean {
  if (value.length < SHORTEST_SECRET) return false
  return ![...KINDS, ...all.map(({ name }) => name)].some((kind) => maskOf(kind).includes(value))
}
