# Stands in for nixpkgs where there is no network: as much of it as packaging/nix/flake.nix uses. packaging/test.sh evaluates the
# flake with it.
{
  outputs = _:
    let
      lib = {
        genAttrs = names: make: builtins.listToAttrs (map (name: { inherit name; value = make name; }) names);
        licenses = { mit = "MIT"; asl20 = "Apache-2.0"; };
        platforms.linux = [ "x86_64-linux" "aarch64-linux" ];
        mkEnableOption = what: { default = false; description = "Whether to enable ${what}."; };
        mkOption = option: option;
        mkIf = condition: content: if condition then content else { };
      };
      packages = system: {
        inherit lib system;
        cmake = "cmake";
        installShellFiles = "installShellFiles";
        formats.toml = _: { type = "toml"; generate = name: value: builtins.toFile name (builtins.toJSON value); };
        rustPlatform.buildRustPackage = package: builtins.derivation {
          name = "${package.pname}-${package.version}";
          inherit system;
          inherit (package) src cargoBuildFlags postInstall;
          lock = package.cargoLock.lockFile;
          builder = "/bin/sh";
        } // { inherit (package) pname version meta; };
      };
    in
    {
      inherit lib;
      legacyPackages = lib.genAttrs lib.platforms.linux packages;
    };
}
