import fc from 'fast-check'
import { expect, test } from 'vitest'
import { repeatedName } from '../../src/lib/json.ts'

/** An object as its members, whose names may repeat; a list; a text. */
type Tree = string | readonly Tree[] | { readonly members: readonly (readonly [string, Tree])[] }

/** Writes each name and text with escapes or without, and with blanks around it or without. */
function written(tree: Tree, escapes: boolean, blank: string): string {
  const quoted = (text: string): string =>
    escapes
      ? `"${text.replace(/./gsu, (one) => [...Array(one.length).keys()].map((at) => `\\u${one.charCodeAt(at).toString(16).padStart(4, '0')}`).join(''))}"`
      : JSON.stringify(text)
  const join = (parts: readonly string[]): string => parts.join(`${blank},${blank}`)
  if (typeof tree === 'string') return quoted(tree)
  if (!('members' in tree)) return `[${join(tree.map((one) => written(one, escapes, blank)))}]`
  const members = tree.members.map(
    ([name, value]) => `${quoted(name)}${blank}:${blank}${written(value, escapes, blank)}`,
  )
  return `{${blank}${join(members)}${blank}}`
}

const repeats = (tree: Tree): boolean => {
  if (typeof tree === 'string') return false
  if (!('members' in tree)) return tree.some(repeats)
  const names = tree.members.map(([name]) => name)
  return new Set(names).size < names.length || tree.members.some(([, value]) => repeats(value))
}

test('a name that an object has twice is found, however it is written', () => {
  const text = fc.constantFrom('a', 'b', '', '"', '\\', '\\"', ':', '{', '}', '[', ',', 'é', '😀')
  const { tree } = fc.letrec<{ tree: Tree }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 3 },
      text,
      fc.array(tie('tree'), { maxLength: 3 }),
      fc.record({ members: fc.array(fc.tuple(text, tie('tree')), { maxLength: 4 }) }),
    ),
  }))
  fc.assert(
    fc.property(tree, fc.boolean(), fc.constantFrom('', ' ', '\r\n\t'), (one, escapes, blank) => {
      const json = written(one, escapes, blank)
      expect(repeatedName(json, JSON.parse(json)) !== null).toBe(repeats(one))
    }),
    { numRuns: 2000 },
  )
})

test('names that are the same only with the halves of surrogate pairs replaced count as the same', () => {
  const json = '{"\\ud800": 1, "\\ud801": 2}'
  expect(repeatedName(json, JSON.parse(json))).toBe('\ufffd')
})
