import js from "@eslint/js";
import { defineConfig, globalIgnores } from "eslint/config";
import tseslint from "typescript-eslint";

export default defineConfig(
  globalIgnores(["dist/", "node_modules/", ".cache/", ".demo/", "templates/", "coverage/"]),
  js.configs.recommended,
  tseslint.configs.strictTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      "@typescript-eslint/consistent-type-imports": ["error", { fixStyle: "inline-type-imports" }],
      "@typescript-eslint/explicit-module-boundary-types": "error",
      "@typescript-eslint/switch-exhaustiveness-check": ["error", { considerDefaultExhaustiveForUnions: true }],
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      // tsc asks for a["b"] on index signatures (noPropertyAccessFromIndexSignature).
      "@typescript-eslint/dot-notation": "off",
      eqeqeq: "error",
      "no-console": "error",
    },
  },
  { files: ["scripts/**", "bench/**", "test/chaos/run.ts"], rules: { "no-console": "off" } },
  // The configuration is the one reader of the environment, and the mains the only ones that end the process.
  {
    files: ["src/**/*.ts"],
    ignores: ["src/config/**", "src/cli/**", "src/sandbox/**", "src/*.ts"],
    rules: {
      "no-restricted-properties": [
        "error",
        { object: "process", property: "env", message: "read the environment in src/config" },
        { object: "process", property: "exit", message: "only the mains end the process" },
      ],
    },
  },
);
