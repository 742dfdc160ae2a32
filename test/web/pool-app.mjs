// What the children of a pool load.
import { Celeriac } from '../../dist/index.js'

export const app = new Celeriac('children')
app.task('late', () => undefined)
