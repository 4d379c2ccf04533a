/** An escape of JSON; at the end of a piece, perhaps only its beginning. */
const ESCAPE = /\\(?:u([0-9a-fA-F]{4})|(u[0-9a-fA-F]{0,3}|)$|[^u]|u)/g

/**
 * Resolves those escapes in a JSON text that hide ordinary characters, so that a secret that is written with them is
 * recognized. The text stays JSON with the same value. It comes in pieces; an escape may come in two.
 */
export function plainEscapes(): (piece: string) => string {
  let held = ''
  return (piece) => {
    const text = held + piece
    held = ''
    return text.replace(ESCAPE, (found, code?: string, cut?: string) => {
      if (cut !== undefined) {
        held = found
        return ''
      }
      if (found === '\\/') return '/'
      const plain = code === undefined ? '' : String.fromCharCode(Number.parseInt(code, 16))
      return /^[ !#-[\]-~]$/.test(plain) ? plain : found
    })
  }
}
