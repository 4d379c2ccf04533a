import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { buildProgram } from '../test/support/build.ts'
import { atWork } from './commands/at-work.ts'
import { besideBare } from './commands/beside-bare.ts'
import { whileOthersWait } from './commands/while-others-wait.ts'
import { startProcess } from './loop/start-process.ts'
import { inTemporaryFolder } from './support/temporary-folder.ts'

/** Commands of the agent beside bare `spawn`, what they cost the server, and the creation of runs while many others wait. */
export function run(): Promise<string> {
  return inTemporaryFolder(async (folder) => {
    const program = await buildProgram()
    const place = async (name: string): Promise<string> => {
      await mkdir(join(folder, name))
      return join(folder, name)
    }
    const beside = await besideBare(await place('beside'))
    await using model = await startProcess(new URL('./commands/model-process.ts', import.meta.url))
    return [
      '### Commands of the agent',
      '',
      beside,
      '',
      '#### The server while runs work on commands',
      '',
      await atWork(program, model.url, await place('at-work')),
      '',
      '#### Creating runs while others wait for a slow model',
      '',
      await whileOthersWait(program, model.url, await place('waiting')),
    ].join('\n')
  })
}

if (import.meta.main) console.log(await run())
