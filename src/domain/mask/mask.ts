import { MaskingStream, maskAll, maskOf } from './finder.ts'
import { KINDS, knownShapes } from './known-shapes.ts'
import { type OwnSecret, ownSecrets, SHORTEST_SECRET } from './own-secrets.ts'
import { privateKeys } from './private-key.ts'

/** A text that comes in pieces. The result does not depend on where the text is cut. */
type MaskedText = {
  /** How much text is held back until more of it comes, in characters. */
  readonly heldChars: number
  /** Adds a piece; returns what is decided by now. */
  write(piece: string): string
  /** Ends the text; returns the rest of it. */
  end(): string
  /** Ends a text that was cut off: drops what may be the beginning of a secret. */
  cut(): string
}

/** Replaces secrets by `[masked:<kind>]`: those with a known shape and the server's own. Pure and idempotent. */
export type Mask = {
  text(text: string): string
  /** Like `text`, but the result has as many lines: empty ones after the mask of a secret of several lines. */
  lines(text: string): string
  pieces(): MaskedText
}

/** Makes a mask for these secrets and for all that have a known shape. */
export function createMask(secrets: readonly OwnSecret[]): Mask {
  // One finder after the other, the most certain first: a shape may overlap a secret of another sort and
  // would leave a part of it.
  const own = ownSecrets(secrets.filter((secret) => canBeMasked(secret, secrets)))
  const finders = [own, privateKeys, knownShapes]
  return {
    text: (text) => finders.reduce((masked, finder) => maskAll(finder, masked), text),
    lines: (text) => finders.reduce((masked, finder) => maskAll(finder, masked, true), text),
    pieces: () => inPieces(finders.map((finder) => new MaskingStream(finder))),
  }
}

function inPieces(streams: readonly MaskingStream[]): MaskedText {
  return {
    get heldChars() {
      return streams.reduce((chars, stream) => chars + stream.heldChars, 0)
    },
    write: (piece) => streams.reduce((text, stream) => stream.write(text), piece),
    end: () => streams.reduce((text, stream) => stream.write(text) + stream.end(), ''),
    cut: () => streams.reduce((text, stream) => stream.write(text) + stream.cut(), ''),
  }
}

/** Whether a secret of the server is too long to be an ordinary word, and not a part of a mask. */
export function canBeMasked({ value }: OwnSecret, all: readonly OwnSecret[]): boolean {
  if (value.length < SHORTEST_SECRET) return false
  return ![...KINDS, ...all.map(({ name }) => name)].some((kind) => maskOf(kind).includes(value))
}
