import { expect, test } from 'vitest'
import { failureDetails } from '../../src/checks/run-check.ts'
import { readPrinted } from '../../src/workspace/program/printed.ts'
import { fixture } from './support.ts'

const GCC = `cc -Wall   -c -o sum.o sum.c
sum.c: In function 'sum':
sum.c:3:12: error: 'c' undeclared (first use in this function)
    3 |   return a+c;
      |            ^
`
const detailsOf = (output: string): string => failureDetails(readPrinted(output), output)

test('the details contain the first error, even if it was printed long before the end', async () => {
  const details = detailsOf(`${GCC}${'make[1]: nothing of interest\n'.repeat(1_000)}last words\n`)
  expect(details).toMatch(/^sum\.c:3:12: error: 'c' undeclared.*\n {4}3 \| {3}return a\+c;/)
  expect(details).toMatch(/\[…\][\s\S]*last words$/)
  expect(details.length).toBeLessThan(4_200)
  const whole = await fixture('go-test.txt')
  expect(detailsOf('one\ntwo\n')).toBe('one\ntwo')
  expect(detailsOf(whole).length).toBeLessThan(4_200)
})
