import { chown, lstat, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { OWN_ID, placesIn, prepareFolders } from '../../src/sandbox/sandbox.ts'
import { temporaryFolder } from '../runner/support.ts'

test.runIf(process.getuid?.() === 0)(
  'the home of a run is given to the user of the next command, also if that is root again',
  async () => {
    const folder = await temporaryFolder()
    const own = placesIn(folder, true)
    const file = join(own.home, 'file')
    await mkdir(own.home)
    await writeFile(file, '')
    for (const path of [own.home, file]) await chown(path, OWN_ID, OWN_ID)
    for (const user of [null, { uid: 1500, gid: 1500 }, null]) {
      prepareFolders({ own, checkHome: null, copy: null }, user)
      for (const path of [own.home, own.tmp, file]) {
        expect((await lstat(path)).uid, path).toBe(user?.uid ?? 0)
      }
    }
  },
)
