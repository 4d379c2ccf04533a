import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { permissions, ROLES, RULES, roleMay } from '../../src/api/auth.ts'

test('the table of permissions in docs/operations.md matches the code', async () => {
  const text = await readFile(new URL('../../docs/operations.md', import.meta.url), 'utf8')
  const rows = text
    .split('\n')
    .filter((line) => /^\|.*`[a-z]+:[a-z]+`/.test(line))
    .map((line) => line.split('|').map((cell) => cell.trim()))
  const head = text.split('\n').find((line) => line.startsWith('| what | permission |'))
  expect(head).toBe(`| what | permission | ${ROLES.join(' | ')} |`)
  expect(rows.map((row) => row.slice(1, -1))).toEqual(
    permissions().map((permission) => [
      RULES[permission].what,
      `\`${permission}\``,
      ...ROLES.map((role) => (roleMay(role, permission) ? 'yes' : '')),
    ]),
  )
})
