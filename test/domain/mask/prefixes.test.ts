import fc from 'fast-check'
import { expect, test } from 'vitest'
import { literally, literalSearch } from '../../../src/domain/mask/prefixes.ts'

/** Few characters, so that texts have many literals; two of them have the same last bits. */
const character = fc.constantFrom('a', 'b', '-', '.', 'é', '\u{1f600}', 'ā')
const text = (minLength: number, maxLength: number) =>
  fc.array(character, { minLength, maxLength }).map((all) => all.join(''))

test('a search finds the places that a regular expression finds', () => {
  fc.assert(
    fc.property(
      fc.array(text(3, 6), { minLength: 1, maxLength: 12 }),
      fc.array(text(0, 30), { maxLength: 8 }),
      (literals, between) => {
        const search = literalSearch(literals)
        const any = new RegExp(literals.map(literally).join('|'), 'g')
        const whole = between.map((part, at) => part + literals[at % literals.length]).join('')
        for (let from = 0; from <= whole.length; from += 1) {
          any.lastIndex = from
          const wanted = any.exec(whole)
          expect(search(whole, from)).toEqual(wanted && { index: wanted.index, literal: wanted[0] })
        }
      },
    ),
  )
})
