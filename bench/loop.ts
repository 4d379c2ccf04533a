import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { besideOpencode } from './loop/beside-opencode.ts'
import { CONTENT, FILES } from './loop/script.ts'
import { startProcess } from './loop/start-process.ts'
import { withTraces } from './loop/with-traces.ts'
import { inTemporaryFolder } from './support/temporary-folder.ts'

/** Runs of five iterations, each a call of an instant model and one file read. */
export function run(): Promise<string> {
  return inTemporaryFolder(async (folder) => {
    const project = join(folder, 'project')
    await mkdir(project)
    for (const file of FILES) await writeFile(join(project, file), CONTENT)
    await using model = await startProcess(new URL('./loop/endpoint-process.ts', import.meta.url))
    const places = { folder, project, modelUrl: model.url }
    const parts = [
      { title: '### The loop: runs of five iterations beside opencode', measure: besideOpencode },
      { title: '### The loop, while traces are exported', measure: withTraces },
    ]
    const sections: string[] = []
    for (const { title, measure } of parts) {
      const section = `${title}\n\n${await measure(places)}\n`
      // Printed at once, because the next section takes a while and may fail.
      console.error(section)
      sections.push(section)
    }
    return sections.join('\n')
  })
}

if (import.meta.main) console.log(await run())
