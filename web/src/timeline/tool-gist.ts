/** A text among the arguments of a call, if it is one. */
export function textArg(args: Readonly<Record<string, unknown>>, name: string): string | null {
  const value = args[name]
  return typeof value === 'string' ? value : null
}

/** More than a line shows. */
const MAX_GIST = 400

/** The beginning of the one argument by which a person recognises a call. */
export const gistOf = (args: Readonly<Record<string, unknown>>): string =>
  mainArg(args).slice(0, MAX_GIST)

function mainArg(args: Readonly<Record<string, unknown>>): string {
  for (const name of ['command', 'path', 'pattern', 'glob', 'query']) {
    const text = textArg(args, name)
    if (text !== null) return text.split('\n', 1)[0] ?? ''
  }
  const patched = textArg(args, 'input')?.match(/^\*\*\* \w+ File: .+/gm)
  if (patched) return patched.map((line) => line.slice(4)).join(', ')
  const [first] = Object.values(args)
  if (first === undefined) return ''
  return typeof first === 'string' ? first : JSON.stringify(first)
}
