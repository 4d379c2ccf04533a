import { visible } from '../ui/foreign-text.ts'

/** What programs print to colour their output, and nothing else that a terminal obeys. */
const COLOURING = new RegExp(`${String.fromCharCode(27)}\\[([\\d;]*)m`)
const ALL_COLOURING = new RegExp(COLOURING, 'g')
/** What a person sees of output, to be copied. */
export const withoutColours = (output: string): string => output.replaceAll(ALL_COLOURING, '')

/** More changes of colour are shown as they were printed. */
const MAX_CHANGES = 5_000

type Style = { readonly isBold: boolean; readonly colour: number | null }
const PLAIN: Style = { isBold: false, colour: null }

/** A text with one look; `names` are its classes. */
export type Part = { readonly text: string; readonly names: string }

/** Output in the colours of its text. Nothing can be hidden with them: backgrounds and concealment are left out. */
export function colouredParts(output: string): Part[] {
  // Texts and what colours the next one, by turns.
  const pieces = output.split(COLOURING)
  if (pieces.length > 2 * MAX_CHANGES) return [{ text: visible(output), names: '' }]
  let style = PLAIN
  return pieces.flatMap((piece, index) => {
    if (index % 2 === 0)
      return piece === '' ? [] : [{ text: visible(piece), names: namesOf(style) }]
    style = styleAfter(style, piece)
    return []
  })
}

const namesOf = ({ isBold, colour }: Style): string =>
  [...(colour === null ? [] : [`ansi-${colour}`]), ...(isBold ? ['ansi-bold'] : [])].join(' ')

function styleAfter(before: Style, parameters: string): Style {
  let style = before
  const codes = parameters.split(';').map(Number)
  for (let i = 0; i < codes.length; i += 1) {
    const code = codes[i] ?? 0
    if (code === 0) style = PLAIN
    else if (code === 1) style = { ...style, isBold: true }
    else if (code === 22) style = { ...style, isBold: false }
    else if (code === 39) style = { ...style, colour: null }
    else if ((code >= 30 && code <= 37) || (code >= 90 && code <= 97)) {
      style = { ...style, colour: code % 10 }
    } else if (code === 38 || code === 48) {
      // One of 256 colours, or red, green and blue: there is no name for it.
      if (code === 38) style = { ...style, colour: null }
      i += codes[i + 1] === 5 ? 2 : 4
    }
  }
  return style
}
