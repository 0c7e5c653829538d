// The version of the package; the bundle has it inlined.
import manifest from '../package.json' with { type: 'json' };

export const version: string = manifest.version;
