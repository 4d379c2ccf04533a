/** The scripted model as a process of its own. It ends with the process that started it. */
import { startScriptedModel } from '../../examples/scripted-model/server.ts'
import { script } from './script.ts'

const model = await startScriptedModel({ script, record: false })
process.once('disconnect', () => void model.close())
process.send?.({ url: model.url })
