import { existsSync, writeFileSync } from 'node:fs'
import { chmod, readFile, stat, symlink, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test } from 'vitest'
import { append, newEvent, numbered, readAll } from '../contract/support.ts'
import { openStore, refusal, testFolder } from './support.ts'

async function filled(events = 300): Promise<string> {
  const file = join(await testFolder(), 'log.db')
  const store = await openStore(file)
  const page = Array.from({ length: events }, () => newEvent({ x: 'x'.repeat(1000) }))
  await append(store, 'filled', page, 'no_stream')
  await store.close()
  return file
}

function sql(file: string, statements: string): void {
  const db = new DatabaseSync(file)
  db.exec(statements)
  db.close()
}

describe('one store at a time', () => {
  test('a second store in the same process is refused, whichever name of the file it uses', async () => {
    const folder = await testFolder()
    const file = join(folder, 'log.db')
    const store = await openStore(file)
    await symlink(file, join(folder, 'other-name.db'))
    await symlink(folder, join(folder, 'other-folder'))
    for (const name of ['log.db', 'other-name.db', 'other-folder/log.db']) {
      const { type, message } = await refusal(join(folder, name))
      expect(type).toBe('store_failed')
      expect(message).toContain(join(folder, name))
      expect(message).toMatch(/in use already.*stop that one/)
    }
    await append(store, 'first', numbered(1))
    await store.close()
    await (await openStore(file)).close()
  })
})

describe('a file that is refused', () => {
  test.each([
    [
      'belongs to another program',
      'is the database of another program',
      (file: string) => sql(file, 'CREATE TABLE things (name TEXT); INSERT INTO things VALUES (1)'),
    ],
    [
      'is not a database',
      'is not an event store',
      (file: string) => writeFileSync(file, 'Dear Sir or Madam, '.repeat(1000)),
    ],
  ])('is left as it is when it %s', async (_, why, make) => {
    const file = join(await testFolder(), 'other.db')
    make(file)
    const before = await readFile(file)
    expect((await refusal(file)).message).toContain(`${file} ${why}`)
    expect(await readFile(file)).toEqual(before)
  })

  test('names the format when it was written by a newer version', async () => {
    const file = await filled(3)
    sql(file, 'PRAGMA user_version = 99')
    const { message } = await refusal(file)
    expect(message).toContain(file)
    expect(message).toMatch(/newer version \(format 99.*update/)
  })

  test.each(['overwritten in the middle', 'cut off', 'with its first page destroyed'])(
    'is damaged: %s',
    async (damage) => {
      const file = await filled()
      const { size } = await stat(file)
      if (damage === 'cut off') await truncate(file, Math.floor(size / 2))
      else {
        const bytes = await readFile(file)
        const at = damage === 'overwritten in the middle' ? Math.floor(size / 8192) * 4096 : 100
        bytes.fill(0x5a, at, at + 3000)
        await writeFile(file, bytes)
      }
      const { type, message } = await refusal(file)
      expect(type).toBe('store_failed')
      expect(message).toContain(file)
      expect(message).toMatch(/damaged.*restore it from a backup/)
    },
  )

  test.skipIf(process.getuid?.() === 0)('is in a folder without write access', async () => {
    const folder = await testFolder()
    await chmod(folder, 0o500)
    const { message } = await refusal(join(folder, 'log.db'))
    expect(message).toContain(join(folder, 'log.db'))
    expect(message).toContain('write access')
    await chmod(folder, 0o700)
  })
})

describe('opening again', () => {
  test('in a folder that does not exist fails, and the folder is not created', async () => {
    const missing = join(await testFolder(), 'missing')
    const { message } = await refusal(join(missing, 'log.db'))
    expect(message).toContain(missing)
    expect(existsSync(missing)).toBe(false)
  })

  test('continues revisions, positions and ids, and cursors stay valid', async () => {
    const file = join(await testFolder(), 'log.db')
    const first = await openStore(file)
    const events = numbered(3)
    await append(first, 'again', events, 'no_stream')
    const [, second] = await readAll(first, 'again')
    await first.close()

    const store = await openStore(file)
    expect(await append(store, 'again', events, 'no_stream')).toBe(2)
    expect(await append(store, 'again', numbered(1), 2)).toBe(3)
    const refused = await store.append('again', numbered(1), { expectedRevision: 'no_stream' })
    expect(refused._unsafeUnwrapErr()).toMatchObject({ actual: 3 })
    const { signal } = new AbortController()
    const seen: string[] = []
    const after = second?.position ?? null
    for await (const item of store.subscribeAll({ after, prefix: '', signal })) {
      if (item.type === 'caught_up') break
      if (item.type !== 'events') continue
      seen.push(...item.events.map((event) => `${event.stream}@${event.revision}`))
    }
    expect(seen).toEqual(['again@2', 'again@3'])
    await store.close()
  })
})
