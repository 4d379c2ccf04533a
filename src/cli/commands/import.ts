import { join } from 'node:path'
import { Command } from 'commander'
import { err, ok, type Result } from 'neverthrow'
import { createArtifacts } from '../../artifacts/artifacts.ts'
import {
  IMPORTS_FOLDER,
  type ImportError,
  type Imported,
  importRun,
} from '../../audit/bundle/import-run.ts'
import { counted } from '../../lib/counted.ts'
import { bundleFile } from '../bundle-file.ts'
import { dataDirOf, openDataFolderStore } from '../data-folder.ts'
import { EXIT, PLAIN_EXIT_CODES } from '../terminal/exit-codes.ts'
import { DATA_DIR } from '../terminal/option-values.ts'
import { say } from '../terminal/print.ts'
import { bundleLines } from '../terminal/report-lines.ts'
import { type AnchorOptions, readAnchors, withAnchors } from './anchors.ts'

const HELP = `
The import writes the run into the log of the data folder, with the same ids, data, metadata and hashes, and
copies its artifacts. First it verifies the file. It refuses a run that had not ended at the time of the
export, because a server would continue it.

Stop the server of the data folder first. After an interruption, start the same import again: it continues,
and an import that is complete changes nothing. If the log has another run with the same id, the import is
refused. Keep the file: the proof in it is from the other server, and this server signs only its own.
${PLAIN_EXIT_CODES}`

type Options = AnchorOptions & { readonly dataDir?: string }

/** `retrai import FILE`: imports the run of an export into the log of a stopped server. */
export function importCommand(): Command {
  return withAnchors(new Command('import'))
    .description('Import the run of an export into a data folder, as a run that can only be read.')
    .argument('<file>', 'an export')
    .option(...DATA_DIR)
    .addHelpText('after', HELP)
    .action(async (file: string, options: Options) => {
      const done = await run(file, options)
      if (done.isErr()) say(...done.error)
      else say(sentence(done.value))
      process.exitCode = done.isOk() ? EXIT.done : EXIT.notDone
    })
}

async function run(file: string, options: Options): Promise<Result<Imported, readonly string[]>> {
  const anchors = await readAnchors(options)
  if (anchors.isErr()) return err(lines(anchors.error))
  const bundle = await bundleFile(file)
  if (bundle.isErr()) return err(lines(bundle.error))
  const dir = dataDirOf(options.dataDir)
  if (dir.isErr()) return err(lines(dir.error))
  const store = await openDataFolderStore(dir.value)
  if (store.isErr()) return err(lines(store.error))
  const artifacts = createArtifacts(join(dir.value, 'artifacts'))
  const deps = {
    store: store.value,
    putArtifact: artifacts.put,
    markers: join(dir.value, IMPORTS_FOLDER),
    now: () => Date.now() / 1000,
  }
  const imported = await importRun(deps, bundle.value, anchors.value)
  await store.value.close()
  return imported.isOk() ? ok(imported.value) : err(explain(imported.error))
}

const lines = (message: string): readonly string[] => [`retrai: ${message}`]

function explain(error: ImportError): readonly string[] {
  switch (error.type) {
    case 'refused':
      return [...lines('Nothing was imported.'), ...bundleLines(error.report)]
    case 'not_complete': {
      const { run_id, verified } = error.report
      return lines(
        `The run ${run_id} had not ended when it was exported, after ${verified} records. Only complete runs can be imported: export it again after its end.`,
      )
    }
    case 'store_unavailable':
    case 'store_failed':
    case 'outcome_unknown':
    case 'artifact_failed':
      return lines(`The import could not be finished: ${error.message}. Start it again.`)
    case 'other_content':
      return lines(`Nothing more was imported: ${error.message}.`)
  }
}

function sentence({ runId, records, present, artifacts }: Imported): string {
  const there = present === 0 ? '' : ` (${present} were there already)`
  return `Run ${runId} is imported: ${counted(records, 'record')}${there}, ${counted(artifacts, 'artifact')}.`
}
